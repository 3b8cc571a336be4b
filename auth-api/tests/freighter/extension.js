// A stand-in for the Freighter extension (5.42 and later). A page sends messages to its own window,
// and the content script of the extension responds to them. This script has the key of the examples
// in SEP-53, and signs without asking a user. If `window.decline` is set, it responds as if the
// user had rejected the request. The page must have crypto.subtle.
'use strict';

(() => {
  const ADDRESS = 'GBXFXNDLV4LSWA4VB7YIL5GBD7BVNR22SGBTDKMO2SBZZHDXSKZYCP7L';
  const PKCS8_SEED = 'MC4CAQAwBQYDK2VwBCIEIBSBErBeLGk5MuWt8+U2AfNSEDLuvrOrteMWkC8KQKAk';
  const bytes = (base64) => Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  const base64 = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer)));
  const key = crypto.subtle.importKey('pkcs8', bytes(PKCS8_SEED), 'Ed25519', false, ['sign']);

  const signSep53 = async (message) => {
    const text = new TextEncoder().encode(`Stellar Signed Message:\n${message}`);
    return base64(await crypto.subtle.sign('Ed25519', await key, await crypto.subtle.digest('SHA-256', text)));
  };
  const declined = { apiError: { code: -4, message: 'The user rejected this request.' } };
  const answers = {
    REQUEST_CONNECTION_STATUS: () => ({ isConnected: true }),
    REQUEST_ALLOWED_STATUS: () => ({ isAllowed: true }),
    REQUEST_ACCESS: () => ({ publicKey: ADDRESS }),
    REQUEST_PUBLIC_KEY: () => ({ publicKey: ADDRESS }),
    SUBMIT_BLOB: async ({ blob, accountToSign }) => {
      if (window.decline || (accountToSign ?? ADDRESS) !== ADDRESS) return declined;
      return { signedBlob: await signSep53(blob), signerAddress: ADDRESS };
    },
  };

  window.addEventListener('message', async ({ source, data }) => {
    if (source !== window || data?.source !== 'FREIGHTER_EXTERNAL_MSG_REQUEST' || !(data.type in answers)) return;
    const answer = await answers[data.type](data);
    // `messagedId` is spelled as in the extension.
    const reply = { source: 'FREIGHTER_EXTERNAL_MSG_RESPONSE', messagedId: data.messageId, ...answer };
    window.postMessage(reply, window.location.origin);
  });
})();
