// As much of a browser's window as @stellar/freighter-api and the extension need to meet in Node.
const window = new EventTarget();
window.location = { origin: 'http://localhost' };
window.postMessage = (data) =>
  setImmediate(() => window.dispatchEvent(Object.assign(new Event('message'), { source: window, data })));
globalThis.window = window;
await import('./extension.js');
