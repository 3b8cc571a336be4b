// The two wallets of the demo. Each has an `address`, a description of what stores its key (`keeper`), and a function
// `sign`, which signs a text as defined in SEP-53 and returns base64.
import { address, base64, utf8 } from "./encoding.js";

// The API of the extension. If the extension is missing, isConnected() returns false after two seconds.
const freighterApi = () => window.freighterApi;

export const freighterIsThere = async () => Boolean((await freighterApi()?.isConnected())?.isConnected);

export const freighter = async () => {
  const access = await freighterApi().requestAccess();
  if (access.error) throw new Error(`Freighter: ${access.error.message}`);
  return {
    address: access.address,
    keeper: "Freighter, which shows the text and requires your confirmation",
    sign: async (message) => {
      const signed = await freighterApi().signMessage(message, { address: access.address });
      if (signed.error) throw new Error(`Freighter: ${signed.error.message}`);
      return signed.signedMessage;
    },
  };
};

export const throwAway = async () => {
  let keys;
  try {
    keys = await crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"]);
  } catch {
    throw new Error("This browser does not support Ed25519 keys. Chrome 137, Firefox 129, Safari 17 and newer versions support them, on https:// and on localhost.");
  }
  return {
    address: address(await crypto.subtle.exportKey("raw", keys.publicKey)),
    keeper: "this page, until it is reloaded",
    sign: async (message) => {
      const hash = await crypto.subtle.digest("SHA-256", utf8(`Stellar Signed Message:\n${message}`));
      return base64(await crypto.subtle.sign("Ed25519", keys.privateKey, hash));
    },
  };
};
