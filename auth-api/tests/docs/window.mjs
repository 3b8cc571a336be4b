// A minimal browser window, through which @stellar/freighter-api and the extension communicate in
// Node.
const window = new EventTarget();
window.location = { origin: 'http://localhost' };
window.postMessage = (data) =>
  setImmediate(() => window.dispatchEvent(Object.assign(new Event('message'), { source: window, data })));
globalThis.window = window;
await import('./extension.js');
