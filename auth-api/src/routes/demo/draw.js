// Drawing. Everything from outside goes through textContent: what the API says is never markup.

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
  iss: "who issued it",
  aud: "whom it is for",
  sub: "your user: the account's id",
  client_id: "who asked for it",
  iat: "since when it is good",
  exp: "until when",
  jti: "the id of this token",
  sid: "the session that it belongs to",
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
  $("verified").textContent = read.genuine
    ? `This page has checked its signature with the key ${read.kid} of /.well-known/jwks.json.`
    : "Its signature does not check!";
};

const STANDINGS = { current: ["ok", "good"], used: ["unknown", "used up"], dead: ["trouble", "dead"] };

// The newest first.
export const chain = (tokens) => {
  const item = ({ token, standing }) => {
    const [tone, word] = STANDINGS[standing];
    return h("li", {}, h("span", { class: "mono" }, shortened(token)), h("span", { class: "mark", "data-tone": tone }, word));
  };
  $("chain").replaceChildren(...tokens.map(item).reverse());
};

export const sessions = (list, end) => {
  const row = (session) => {
    const device = session.device ?? "unknown";
    const act = session.current
      ? h("span", { class: "mark", "data-tone": "ok" }, "this one")
      : h("button", { type: "button", class: "quiet small danger", "aria-label": `End the session of ${device}, begun at ${clock(session.created_at)}` }, "End");
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

// As many as anybody looks at.
const REQUESTS = 30;

export const request = ({ method, path, body, status, told, ms }) => {
  const tone = status < 400 ? "ok" : "attention";
  const line = h("summary", {}, h("span", { class: "status", "data-tone": tone }, String(status)),
    ` ${method} ${path} `, h("span", { class: "soft" }, `${Math.round(ms)} ms`));
  const said = [body && `→ ${json(body)}`, told ? `← ${json(told)}` : "← (no body)"].filter(Boolean).join("\n");
  $("requests").prepend(h("li", {}, h("details", {}, line, h("pre", { tabindex: "0" }, said))));
  while ($("requests").children.length > REQUESTS) $("requests").lastChild.remove();
  show("wire", true);
};
