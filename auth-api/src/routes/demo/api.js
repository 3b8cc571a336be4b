// The API, as a client sees it. Every request is told to whoever listens.
import { fromBase64Url, utf8 } from "./encoding.js";

// What a refused request throws.
export class Refused extends Error {
  constructor(status, { code, detail }) {
    super(detail || code || `The API answered ${status}`);
    this.status = status;
    this.code = code;
  }
}

// What stands before the API may answer in something else than JSON.
const parsed = (text) => {
  try {
    return text ? JSON.parse(text) : null;
  } catch {
    return null;
  }
};

let listener = () => {};
export const onRequest = (told) => (listener = told);

// `path` is relative to this page, so that the API may be served under a path.
export const call = async (method, path, { body, token, key } = {}) => {
  const began = performance.now();
  const headers = {};
  if (body) headers["Content-Type"] = "application/json";
  if (key) headers["Idempotency-Key"] = key;
  if (token) headers.Authorization = `Bearer ${token}`;
  // No cookie: one credential is enough, and two are refused.
  const options = { method, headers, body: body && JSON.stringify(body), credentials: "omit", cache: "no-store" };
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("The API cannot be reached.");
  }
  const told = parsed(await answer.text());
  listener({ method, path: new URL(path, document.baseURI).pathname, body, status: answer.status, told, ms: performance.now() - began });
  if (!answer.ok) throw new Refused(answer.status, told ?? {});
  return told;
};

const part = (text) => JSON.parse(new TextDecoder().decode(fromBase64Url(text)));

// What stands in an access token, and whether the API's public key says that it is genuine.
export const readToken = async (token) => {
  const [header, claims, signature] = token.split(".");
  const { alg, kid, typ } = part(header);
  const { keys } = await call("GET", ".well-known/jwks.json");
  const jwk = keys.find((key) => key.kid === kid);
  let genuine = false;
  if (jwk && alg === "EdDSA" && typ === "at+jwt") {
    const key = await crypto.subtle.importKey("jwk", { kty: jwk.kty, crv: jwk.crv, x: jwk.x }, "Ed25519", false, ["verify"]);
    genuine = await crypto.subtle.verify("Ed25519", key, fromBase64Url(signature), utf8(`${header}.${claims}`));
  }
  return { kid, genuine, claims: part(claims) };
};
