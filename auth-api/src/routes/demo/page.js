// The demo: what its buttons do. What is shown follows from `held`, which is all that this page keeps.
import { Refused, call, onRequest, readToken } from "./api.js";
import * as draw from "./draw.js";
import { freighter, freighterIsThere, throwAway } from "./wallets.js";

const { $, show, tell } = draw;

const held = {
  wallet: null, // who signs
  message: null, // the text to sign
  login: null, // the body of the login that worked
  tokens: null, // the newest ones
  chain: [], // all refresh tokens of the session, the oldest first
  swapped: null, // when the newest took the place of the one before
};
let settings = { network: "", reuse_grace_ms: 0 };

// One thing at a time. What fails is told; the API's refusals where they are not what was to be shown.
let busy = false;
const act = async (button, what) => {
  if (busy) return;
  busy = true;
  button.setAttribute("aria-busy", "true");
  document.body.dataset.busy = "true";
  try {
    await what();
  } catch (error) {
    tell("trouble", error instanceof Refused ? `${error.status} ${error.code}: ${error.message}` : error.message);
  } finally {
    busy = false;
    button.removeAttribute("aria-busy");
    document.body.dataset.busy = "false";
  }
};
const on = (id, what) => $(id).addEventListener("click", () => act($(id), what));

// The refusal that a request gets, or null where it is not refused.
const refusal = async (request) => {
  try {
    await request;
    return null;
  } catch (error) {
    if (error instanceof Refused) return error;
    throw error;
  }
};
const bearer = () => ({ token: held.tokens.access_token });
const challenge = async () => (await call("POST", "auth/challenge", { body: { address: held.wallet.address } })).message;

// --- 1, 2: a wallet and a challenge

const useWallet = (make) => async () => {
  held.wallet = await make();
  $("address").textContent = held.wallet.address;
  $("keeper").textContent = held.wallet.keeper;
  show("wallet-facts", true);
  await beginAnew();
};

const beginAnew = async () => {
  held.message = await challenge();
  Object.assign(held, { login: null, tokens: null, chain: [], swapped: null });
  $("message").textContent = held.message;
  $("log-in").textContent = "Sign it and log in";
  $("log-in").className = "";
  for (const id of ["signature-facts", "tokens", "sessions"]) show(id, false);
  show("challenge", true);
  tell("unknown", "Here is a text to sign. The API has stored nothing for it.");
  $("log-in").focus();
};

const logIn = async () => {
  if (held.login) {
    const refused = await refusal(call("POST", "auth/login", { body: held.login }));
    if (refused) tell("ok", "Refused, as it should be: a challenge is good once.");
    else tell("trouble", "The same challenge was taken twice!");
    return;
  }
  const body = { message: held.message, signature: await held.wallet.sign(held.message) };
  $("signature").textContent = body.signature;
  show("signature-facts", true);
  await keep(await call("POST", "auth/login", { body }));
  held.login = body;
  $("log-in").textContent = "Send the same again";
  $("log-in").className = "quiet";
  await list();
  tell("ok", "Logged in: the signature proved who you are, and a session has begun.");
  $("refresh").focus();
};

// --- 3: tokens

const keep = async (tokens) => {
  for (const link of held.chain) link.standing = "used";
  held.chain.push({ token: tokens.refresh_token, standing: "current" });
  held.swapped = held.chain.length > 1 ? performance.now() : null;
  held.tokens = tokens;
  draw.chain(held.chain);
  live(true);
  draw.claims(await readToken(tokens.access_token));
};

const live = (alive) => {
  $("alive").dataset.tone = alive ? "ok" : "trouble";
  $("alive").textContent = alive ? "alive" : "over";
  for (const id of ["refresh", "sessions"]) show(id, alive);
  show("again", !alive);
  show("tokens", true);
  tick();
};

// The session is over: so say the refresh token and, at once, the access token.
const over = async (why) => {
  const refused = await refusal(call("GET", "auth/session", bearer()));
  if (!refused) throw new Error("The session is said to be over, and its access token still works!");
  for (const link of held.chain) link.standing = "dead";
  draw.chain(held.chain);
  live(false);
  tell("attention", why);
  $("again").focus();
};

const refresh = async () => {
  const body = { refresh_token: held.tokens.refresh_token };
  // The same for each try with this token, so that a lost answer costs nothing.
  held.tokens.attempt ??= crypto.randomUUID();
  await keep(await call("POST", "auth/refresh", { body, key: held.tokens.attempt }));
  await list();
  tell("ok", "New tokens. The refresh token before is used up now.");
};

const replay = async () => {
  const old = held.chain.at(-2).token;
  let again;
  const refused = await refusal((async () => (again = await call("POST", "auth/refresh", { body: { refresh_token: old } })))());
  if (refused) {
    await over("A used-up token came a second time: somebody has a copy. So the session is over, for whoever holds any token of it, and the wallet has to log in again.");
  } else if (again.refresh_token === held.tokens.refresh_token) {
    tell("ok", "So soon after, it gets the same successor again: a client that lost the answer, or a second tab, goes on, and the chain does not fork.");
  } else {
    tell("trouble", "It got another successor: the chain has forked!");
  }
};

const graceLeft = () =>
  held.swapped === null ? 0 : Math.max(0, settings.reuse_grace_ms - (performance.now() - held.swapped));

const tick = () => {
  const alive = $("alive").dataset.tone === "ok";
  const left = graceLeft();
  show("replay", alive && held.swapped !== null);
  show("grace", alive && left > 0);
  $("replay").textContent = left > 0 ? "Send the old one again, as if the answer was lost" : "Send the old one again, as a thief would";
  $("grace-left").value = settings.reuse_grace_ms ? left / settings.reuse_grace_ms : 0;
  $("grace-note").textContent = `For ${Math.ceil(left / 1000)} s more the old one gets the same successor; after that it ends the session.`;
};

// --- 4: sessions

const list = async () => draw.sessions((await call("GET", "auth/sessions?limit=20", bearer())).sessions, end);

const end = (button, id) =>
  act(button, async () => {
    await call("DELETE", `auth/sessions/${encodeURIComponent(id)}`, bearer());
    await list();
    tell("ok", "Ended: its tokens are refused from now on, everywhere.");
    $("sessions-title").focus();
  });

const another = async () => {
  const message = await challenge();
  await call("POST", "auth/login", { body: { message, signature: await held.wallet.sign(message) } });
  await list();
  tell("ok", "The same wallet has another session now, as if it had logged in on a phone.");
};

const endOthers = async () => {
  const { revoked } = await call("DELETE", "auth/sessions?except=current", bearer());
  await list();
  tell("ok", revoked === 1 ? "One session ended; this one goes on." : `${revoked} sessions ended; this one goes on.`);
};

const logOut = async () => {
  await call("POST", "auth/logout", bearer());
  await over("Logged out: the access token is refused from now on, though its time is not up.");
};

// --- the page itself

on("use-key", useWallet(throwAway));
on("use-freighter", useWallet(freighter));
on("log-in", logIn);
on("refresh", refresh);
on("replay", replay);
on("again", beginAnew);
on("another", another);
on("end-others", endOthers);
on("log-out", logOut);
setInterval(tick, 250);

const look = async () => {
  settings = await call("GET", "demo/settings.json");
  $("where").textContent = `the demo at ${location.host}, for wallets of ${settings.network}`;
};
const lookForFreighter = async () => {
  const there = await freighterIsThere();
  show("use-freighter", there);
  $("use-key").className = there ? "quiet" : "";
  $("freighter-note").textContent = there
    ? "Freighter is here. On a page without HTTPS it signs only if its settings allow that (Security, Advanced settings)."
    : "The Freighter extension is not here, so a key that this page makes has to do.";
};
await act(document.body, look);
onRequest(draw.request);
await lookForFreighter();
document.body.dataset.ready = "true";
