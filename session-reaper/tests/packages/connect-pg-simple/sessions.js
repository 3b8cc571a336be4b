// Sessions as an Express application has them. `make HOURS…`: the table by the store's own createTableIfMissing, and
// sessions; prints their ids by how many hours they have left. `read ID…`: prints what the store has of them, by id.
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
