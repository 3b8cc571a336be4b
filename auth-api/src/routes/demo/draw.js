// Rendering. All external text is set by textContent, so the browser never interprets it as markup.

export const $ = (id) => document.getElementById(id);

export const h = (tag, attributes = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
};

export const show = (id, shown) => {
  $(id).hidden = !shown;
};

// Tones: ok, attention, trouble, unknown.
export const tell = (tone, text) => {
  $("told").dataset.tone = tone;
  $("told").textContent = text;
};

export const shortened = (secret) => `${secret.slice(0, 14)}…${secret.slice(-6)}`;

const clock = (time) => new Date(time).toLocaleTimeString("en-GB");

const MEANINGS = {
  iss: "the issuer of the token",
  aud: "the audience of the token",
  sub: "the id of the account, which identifies the user",
  client_id: "the client that the token was issued to",
  iat: "when the token was issued",
  exp: "when the token expires",
  jti: "the id of the token",
  sid: "the id of the session",
  auth_time: "when the wallet logged in",
  wallet: "the address of the wallet",
};

export const claims = (read) => {
  const row = ([name, value]) => {
    const text = ["iat", "exp", "auth_time"].includes(name) ? `${value} (${clock(value * 1000)})` : String(value);
    const meaning = h("span", { class: "meaning" }, MEANINGS[name] ?? "");
    return h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, h("span", { class: "mono" }, text), meaning));
  };
  $("claims").replaceChildren(...Object.entries(read.claims).map(row));
  $("verified").textContent = read.verified
    ? `This page has checked its signature with the key ${read.kid} from /.well-known/jwks.json.`
    : "Its signature is invalid.";
};

const STATUSES = { current: ["ok", "current"], used: ["unknown", "used up"], dead: ["trouble", "revoked"] };

// Lists the tokens newest first.
export const chain = (tokens) => {
  const item = ({ token, status }) => {
    const [tone, word] = STATUSES[status];
    return h("li", {}, h("span", { class: "mono" }, shortened(token)), h("span", { class: "mark", "data-tone": tone }, word));
  };
  $("chain").replaceChildren(...tokens.map(item).reverse());
};

export const sessions = (list, end) => {
  const row = (session) => {
    const device = session.device ?? "unknown";
    const act = session.current
      ? h("span", { class: "mark", "data-tone": "ok" }, "this session")
      : h("button", { type: "button", class: "quiet small danger", "aria-label": `End the session on ${device} that began at ${clock(session.created_at)}` }, "End");
    if (!session.current) act.addEventListener("click", () => end(act, session.id));
    return h("tr", { "data-session": session.id },
      h("th", { scope: "row" }, device),
      h("td", { class: "wide mono" }, session.ip ?? ""),
      h("td", {}, clock(session.created_at)),
      h("td", { class: "wide" }, clock(session.last_seen_at)),
      h("td", { class: "act" }, act));
  };
  $("list").replaceChildren(...list.map(row));
};

const SECRETS = ["access_token", "refresh_token"];
const json = (value) => JSON.stringify(value, (key, text) => (SECRETS.includes(key) ? shortened(text) : text), 2);

// The maximum number of requests to display.
const REQUESTS = 30;

export const request = ({ method, path, body, status, result, ms }) => {
  const tone = status < 400 ? "ok" : "attention";
  const line = h("summary", {}, h("span", { class: "status", "data-tone": tone }, String(status)),
    ` ${method} ${path} `, h("span", { class: "soft" }, `${Math.round(ms)} ms`));
  const details = [body && `→ ${json(body)}`, result ? `← ${json(result)}` : "← (no body)"].filter(Boolean).join("\n");
  $("requests").prepend(h("li", {}, h("details", {}, line, h("pre", { tabindex: "0" }, details))));
  while ($("requests").children.length > REQUESTS) $("requests").lastChild.remove();
  show("wire", true);
};
