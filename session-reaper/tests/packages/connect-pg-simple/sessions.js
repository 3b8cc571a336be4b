// Sessions of an Express application. Both commands print a JSON object. `make HOURS…` creates the table with the store's
// own createTableIfMissing, and creates one session for each number of hours, after which the session expires. The object
// maps these numbers to the session IDs. The object that `read ID…` prints maps session IDs to the stored values.
'use strict';

const { promisify } = require('node:util');
const session = require('express-session');
const PgStore = require('connect-pg-simple')(session);

const store = new PgStore({
  conString: process.env.DATABASE_URL,
  createTableIfMissing: true,
  pruneSessionInterval: false,
});
async function make(hours) {
  const made = {};
  for (const left of hours) {
    const request = { sessionID: `session-${left}`, sessionStore: store };
    const expires = new Date(Date.now() + left * 3_600_000);
    const created = store.createSession(request, { cookie: { expires, originalMaxAge: null } });
    created.hours = left;
    await promisify(created.save.bind(created))();
    made[left] = created.id;
  }
  return made;
}

async function read(ids) {
  const found = {};
  for (const id of ids) found[id] = (await promisify(store.load.bind(store))(id))?.hours ?? null;
  return found;
}

async function main([command, ...words]) {
  const commands = { make, read };
  if (!(command in commands)) throw new Error('make HOURS… or read ID…');
  console.log(JSON.stringify(await commands[command](words)));
  await store.close();
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exit(1);
});
