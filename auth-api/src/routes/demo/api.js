// A client of the API. It passes every request and its response to the listener.
import { fromBase64Url, utf8 } from "./encoding.js";

// The error that a rejected request throws.
export class Refused extends Error {
  constructor(status, { code, detail }) {
    super(detail || code || `The API returned ${status}`);
    this.status = status;
    this.code = code;
  }
}

// Returns null for text that is not JSON, which a proxy in front of the API may return.
const parsed = (text) => {
  try {
    return text ? JSON.parse(text) : null;
  } catch {
    return null;
  }
};

let listener = () => {};
export const onRequest = (callback) => (listener = callback);

// `path` is relative to this page, so that the API may be served under a path.
export const call = async (method, path, { body, token, key } = {}) => {
  const began = performance.now();
  const headers = {};
  if (body) headers["Content-Type"] = "application/json";
  if (key) headers["Idempotency-Key"] = key;
  if (token) headers.Authorization = `Bearer ${token}`;
  // The request contains no cookie, because the API rejects a request with two credentials.
  const options = { method, headers, body: body && JSON.stringify(body), credentials: "omit", cache: "no-store" };
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("The API is unreachable.");
  }
  const result = parsed(await response.text());
  listener({ method, path: new URL(path, document.baseURI).pathname, body, status: response.status, result, ms: performance.now() - began });
  if (!response.ok) throw new Refused(response.status, result ?? {});
  return result;
};

const part = (text) => JSON.parse(new TextDecoder().decode(fromBase64Url(text)));

// Returns the claims of an access token, and whether its signature matches the API's public key.
export const readToken = async (token) => {
  const [header, claims, signature] = token.split(".");
  const { alg, kid, typ } = part(header);
  const { keys } = await call("GET", ".well-known/jwks.json");
  const jwk = keys.find((key) => key.kid === kid);
  let verified = false;
  if (jwk && alg === "EdDSA" && typ === "at+jwt") {
    const key = await crypto.subtle.importKey("jwk", { kty: jwk.kty, crv: jwk.crv, x: jwk.x }, "Ed25519", false, ["verify"]);
    verified = await crypto.subtle.verify("Ed25519", key, fromBase64Url(signature), utf8(`${header}.${claims}`));
  }
  return { kid, verified, claims: part(claims) };
};
