// The text encodings of wallets and tokens.

export const base64 = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer)));

export const fromBase64Url = (text) =>
  Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (character) => character.charCodeAt(0));

export const utf8 = (text) => new TextEncoder().encode(text);

// RFC 4648 §6.
const BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const base32 = (bytes) => {
  let [held, bits, text] = [0, 0, ""];
  for (const byte of bytes) {
    held = (held << 8) | byte;
    for (bits += 8; bits >= 5; bits -= 5) text += BASE32[(held >> (bits - 5)) & 31];
    held &= (1 << bits) - 1;
  }
  return text; // 35 bytes encode to exactly 56 characters
};

// CRC-16/XMODEM.
const crc16 = (bytes) => {
  let crc = 0;
  for (const byte of bytes) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit += 1) crc = ((crc << 1) ^ (crc & 0x8000 ? 0x1021 : 0)) & 0xffff;
  }
  return crc;
};

// Returns the address of a public key (SEP-23): a version byte that encodes to "G", the key, and a checksum.
export const address = (publicKey) => {
  const bytes = [6 << 3, ...new Uint8Array(publicKey)];
  const crc = crc16(bytes);
  return base32([...bytes, crc & 0xff, crc >> 8]);
};
