// The demo's buttons. The page displays the state in `held` and stores nothing else.
import { Refused, call, onRequest, readToken } from "./api.js";
import * as draw from "./draw.js";
import { freighter, freighterIsThere, throwAway } from "./wallets.js";

const { $, show, tell } = draw;

const held = {
  wallet: null, // the wallet that signs
  message: null, // the text of the challenge
  login: null, // the request body of the successful login
  tokens: null, // the newest tokens
  chain: [], // all refresh tokens of the session, oldest first
  swapped: null, // when the newest refresh token replaced the previous one
};
let settings = { network: "", reuse_grace_ms: 0 };

// Runs one action at a time and displays its error. Actions that demonstrate a rejection catch the error themselves.
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

// Returns the error if the API rejects the request, or null if it does not.
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
  await requestChallenge();
};

const requestChallenge = async () => {
  held.message = await challenge();
  Object.assign(held, { login: null, tokens: null, chain: [], swapped: null });
  $("message").textContent = held.message;
  $("log-in").textContent = "Sign and log in";
  $("log-in").className = "";
  for (const id of ["signature-facts", "tokens", "sessions"]) show(id, false);
  show("challenge", true);
  tell("unknown", "Here is a text to sign. The API has not stored it.");
  $("log-in").focus();
};

const logIn = async () => {
  if (held.login) {
    const refused = await refusal(call("POST", "auth/login", { body: held.login }));
    if (refused) tell("ok", "Refused, as it should be: a challenge can be used only once.");
    else tell("trouble", "Error: the API accepted the same challenge twice.");
    return;
  }
  const body = { message: held.message, signature: await held.wallet.sign(held.message) };
  $("signature").textContent = body.signature;
  show("signature-facts", true);
  await keep(await call("POST", "auth/login", { body }));
  held.login = body;
  $("log-in").textContent = "Send the same login again";
  $("log-in").className = "quiet";
  await list();
  tell("ok", "Logged in: the signature proved that you hold the key, and the API created a session.");
  $("refresh").focus();
};

// --- 3: tokens

const keep = async (tokens) => {
  for (const link of held.chain) link.status = "used";
  held.chain.push({ token: tokens.refresh_token, status: "current" });
  held.swapped = held.chain.length > 1 ? performance.now() : null;
  held.tokens = tokens;
  draw.chain(held.chain);
  live(true);
  draw.claims(await readToken(tokens.access_token));
};

const live = (alive) => {
  $("alive").dataset.tone = alive ? "ok" : "trouble";
  $("alive").textContent = alive ? "active" : "over";
  for (const id of ["refresh", "sessions"]) show(id, alive);
  show("again", !alive);
  show("tokens", true);
  tick();
};

// Handles the end of the session, after checking that the API already rejects the access token.
const over = async (why) => {
  const refused = await refusal(call("GET", "auth/session", bearer()));
  if (!refused) throw new Error("The session has ended, but its access token still works.");
  for (const link of held.chain) link.status = "dead";
  draw.chain(held.chain);
  live(false);
  tell("attention", why);
  $("again").focus();
};

const refresh = async () => {
  const body = { refresh_token: held.tokens.refresh_token };
  // Each attempt with this token uses the same key, so that a retry succeeds if the response is lost.
  held.tokens.attempt ??= crypto.randomUUID();
  await keep(await call("POST", "auth/refresh", { body, key: held.tokens.attempt }));
  await list();
  tell("ok", "You have new tokens. The previous refresh token is used up.");
};

const replay = async () => {
  const old = held.chain.at(-2).token;
  let again;
  const refused = await refusal((async () => (again = await call("POST", "auth/refresh", { body: { refresh_token: old } })))());
  if (refused) {
    await over("A used-up token came a second time, so someone may have a copy. The API ended the session: it rejects all tokens of the session, and the wallet has to log in again.");
  } else if (again.refresh_token === held.tokens.refresh_token) {
    tell("ok", "Soon after a refresh, the old token returns the same successor again. A client that lost the response can therefore continue, as can a second tab, and the chain does not fork.");
  } else {
    tell("trouble", "Error: the API returned a different successor, so the chain has forked.");
  }
};

const graceLeft = () =>
  held.swapped === null ? 0 : Math.max(0, settings.reuse_grace_ms - (performance.now() - held.swapped));

const tick = () => {
  const alive = $("alive").dataset.tone === "ok";
  const left = graceLeft();
  show("replay", alive && held.swapped !== null);
  show("grace", alive && left > 0);
  $("replay").textContent = left > 0 ? "Send the old one again, as if the response had been lost" : "Send the old one again, as a thief would";
  $("grace-left").value = settings.reuse_grace_ms ? left / settings.reuse_grace_ms : 0;
  $("grace-note").textContent = `For another ${Math.ceil(left / 1000)} s, the old token returns the same successor. After that, it ends the session.`;
};

// --- 4: sessions

const list = async () => draw.sessions((await call("GET", "auth/sessions?limit=20", bearer())).sessions, end);

const end = (button, id) =>
  act(button, async () => {
    await call("DELETE", `auth/sessions/${encodeURIComponent(id)}`, bearer());
    await list();
    tell("ok", "Ended: the API now rejects the tokens of that session.");
    $("sessions-title").focus();
  });

const another = async () => {
  const message = await challenge();
  await call("POST", "auth/login", { body: { message, signature: await held.wallet.sign(message) } });
  await list();
  tell("ok", "The wallet now has another session, as if it had logged in on a phone.");
};

const endOthers = async () => {
  const { revoked } = await call("DELETE", "auth/sessions?except=current", bearer());
  await list();
  tell("ok", revoked === 1 ? "One session ended; this one goes on." : `${revoked} sessions ended; this one goes on.`);
};

const logOut = async () => {
  await call("POST", "auth/logout", bearer());
  await over("Logged out: the API now rejects the access token, although the token has not expired.");
};

// --- the page itself

on("use-key", useWallet(throwAway));
on("use-freighter", useWallet(freighter));
on("log-in", logIn);
on("refresh", refresh);
on("replay", replay);
on("again", requestChallenge);
on("another", another);
on("end-others", endOthers);
on("log-out", logOut);
setInterval(tick, 250);

const loadSettings = async () => {
  settings = await call("GET", "demo/settings.json");
  $("where").textContent = `demo at ${location.host}, for wallets on ${settings.network}`;
};
const lookForFreighter = async () => {
  const there = await freighterIsThere();
  show("use-freighter", there);
  $("use-key").className = there ? "quiet" : "";
  $("freighter-note").textContent = there
    ? "Freighter is here. On a page without HTTPS, it signs only if its settings allow it (Security, Advanced settings)."
    : "The Freighter extension is not here. Use a key that this page generates instead.";
};
await act(document.body, loadSettings);
onRequest(draw.request);
await lookForFreighter();
document.body.dataset.ready = "true";
