-- Counts a request against each key in turn, up to the first key whose quota is used up. Each
-- request adds its share of the period to the debt of the key, and the debt falls with time. The
-- value of a key is the time at which its debt is zero, in microseconds by the clock of this
-- server. The key expires at that time.
--
-- KEYS: the keys under which the request is counted. ARGV, for each key: the share of the period
-- that one request uses, and the maximum debt, both in microseconds. Returns whether the last key
-- counted allows the request (1 or 0), followed by the debt of each key counted.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local answer = {1}
for i, key in ipairs(KEYS) do
  local share, limit = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  local debt = math.max(tonumber(redis.call('GET', key) or now) - now, 0)
  -- The debt cannot exceed the limit unless the clock was set back.
  if debt > limit then debt = 0 end
  if debt + share > limit then
    answer[1] = 0
  else
    debt = debt + share
    redis.call('SET', key, string.format('%.0f', now + debt), 'PX', math.ceil(debt / 1000))
  end
  answer[#answer + 1] = debt
  if answer[1] == 0 then break end
end
return answer
