-- Counts a request against each key in turn, up to the first whose quota is used up. A key holds the time at which its
-- debt is paid, in microseconds by this server's clock; it is forgotten then.
--
-- KEYS: who is counted. ARGV, for each key: the share of the time that a request takes, and the most that may be taken
-- ahead, in microseconds. Answers whether the last key counted let the request through (1 or 0), then each one's debt.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local answer = {1}
for i, key in ipairs(KEYS) do
  local share, limit = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  local debt = math.max(tonumber(redis.call('GET', key) or now) - now, 0)
  -- Nobody can owe more: the clock was set back.
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
