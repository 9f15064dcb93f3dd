// One room a transport, its members on two daemons, everybody writing and running, while Redis is flushed, paused,
// stopped and started again. The script says on its standard output what is to be done to Redis, a line a command, and
// waits for a line on its standard input; at the end it prints {"summary": ...} and exits 1 when an order was broken.
//
// What must hold for every member, whatever happens to Redis: no number comes twice or after a higher one, and where
// one is missing (but for the member's own changes) a `room-state` came first. What must hold whenever Redis is well:
// every change reaches everybody on both daemons, and nothing overlaps.
import { randomUUID } from 'node:crypto';
import { createInterface } from 'node:readline';
import { TRANSPORTS, URLS, assert, join } from './lib.js';

const NUMBERED = new Set(['code-update', 'language-update', 'execution-started', 'execution-result']);
const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const wrong = [];
let stopped = false;

async function redis(command) {
  console.log(command);
  await answers.next();
}

process.on('unhandledRejection', (error) => {
  console.error(error);
  process.exit(2);
});

/** Everything that a member was told, in order, against its own changes. */
function check(client) {
  let last = null;
  let own = 0;
  for (const { name, payload } of client.received) {
    const number = payload?.sequence;
    if (name === 'room-state') {
      if (last !== null && number < last) wrong.push(`${client.username}: room-state ${number} after ${last}`);
      last = number;
    } else if (NUMBERED.has(name) && typeof number === 'number') {
      if (number <= last) wrong.push(`${client.username}: ${name} ${number} after ${last}`);
      own += number - last - 1;
      last = number;
    }
  }
  // The older dialect's changes come without numbers.
  if (!client.username.startsWith('old') && own > (client.changes ?? 0)) wrong.push(`${client.username}: ${own} numbers are missing, ${client.changes ?? 0} were its own`);
}

class Room {
  constructor(transport) {
    this.transport = transport;
    this.id = `faults-${randomUUID().slice(0, 8)}`;
    this.runs = [];
    this.spans = [];
  }

  async fill() {
    const member = (name, n, old = false) => join(this.transport, this.id, `${name}${n}`, { url: URLS[n], old });
    this.writers = [await member('writer', 0), await member('writer', 1)];
    this.readers = [await member('reader', 0), await member('reader', 1)];
    this.olds = [await member('old', 0, true), await member('old', 1, true)];
    this.members = [...this.writers, ...this.readers, ...this.olds];
    for (const one of this.members) one.socket.on('disconnect', () => stopped || wrong.push(`${one.username} was disconnected`));
  }

  /** Writes until the end. */
  async write(n) {
    const writer = this.writers[n];
    for (let change = 0; !stopped; change++) {
      this.change(writer, `${writer.username} ${change}`);
      await pause(25 + 20 * Math.random());
    }
  }

  change(writer, code) {
    writer.changes = (writer.changes ?? 0) + 1;
    writer.emit('code-change', { roomId: this.id, code });
  }

  /** Runs until the end, each with a token of its own; every run is answered once. */
  async run(n) {
    const writer = this.writers[n];
    while (!stopped) {
      const correlationId = randomUUID();
      const code = `import time\na = time.monotonic_ns()\nprint('${correlationId}')\nprint(a, time.monotonic_ns())`;
      writer.emit('execute-code', { roomId: this.id, code, language: 'python', correlationId });
      const result = await writer.wait('execution-result', (r) => r.correlationId === correlationId);
      this.runs.push({ correlationId, n });
      if (!result.success) {
        wrong.push(`a run failed: ${JSON.stringify(result)}`);
        continue;
      }
      const [token, stamps] = result.stdout.trim().split('\n');
      if (token !== correlationId) wrong.push(`${correlationId} got ${token}`);
      this.spans.push({ n, span: stamps.split(' ').map(BigInt), well: this.well });
    }
  }

  /** With Redis well, whoever writes is heard by everybody. */
  async expectShared(what) {
    const marks = this.writers.map((writer) => `${what} ${writer.username} ${randomUUID()}`);
    for (const n of [0, 1]) {
      this.change(this.writers[n], marks[n]);
      for (const reader of this.readers) await reader.wait('code-update', (update) => update.code === marks[n]);
      for (const old of this.olds) await old.wait('code-update', (update) => update === marks[n]);
    }
  }

  /** All members agree at last. */
  async expectAgreement() {
    const states = await Promise.all(this.members.map((member) => member.settled(this.id)));
    for (const state of states) assert.deepEqual(state, states[0]);
    const names = this.members.map((member) => member.username).sort();
    for (const member of this.members) {
      const lists = member.all('participants-list');
      const list = lists[lists.length - 1];
      assert.deepEqual([...list.map((one) => one.username), member.username].sort(), names);
      const hosts = list.filter((one) => one.isHost).length;
      const said = member.all('host-assigned').at(-1)?.isHost ?? false;
      assert.equal(hosts + Number(said), 1, `${member.username} sees ${hosts} hosts and is told ${said}`);
    }
    // One that ended while its daemon was alone is told there alone.
    for (const { correlationId, n } of this.runs) {
      for (const member of this.members.filter((_, index) => index % 2 === n)) {
        const told = member.all('execution-result').filter((result) => result.correlationId === correlationId).length;
        if (told !== 1) wrong.push(`${member.username} was told ${told} results of ${correlationId}`);
      }
    }
    this.members.forEach(check);
  }

  /** On one daemon never; on two only where they could not know of each other. */
  overlaps() {
    const later = (a, b) => (a.span[0] < b.span[0] ? -1 : 1);
    const count = (spans) => spans.sort(later).filter((one, at) => at > 0 && spans[at - 1].span[1] > one.span[0]).length;
    return [0, 1].map((n) => count(this.spans.filter((span) => span.n === n))).reduce((a, b) => a + b) + count(this.spans.filter((span) => span.well));
  }
}

const rooms = TRANSPORTS.map((transport) => new Room(transport));
const well = (is) => rooms.forEach((room) => (room.well = is));
await Promise.all(rooms.map((room) => room.fill()));
well(true);
const everybody = rooms.flatMap((room) => [room.write(0), room.write(1), room.run(0), room.run(1)]);

async function shared(what) {
  await Promise.all(rooms.map((room) => room.expectShared(what)));
}

await pause(1000);
await shared('at first');
for (let n = 0; n < 5; n++) {
  await redis('flush');
  await pause(300);
}
await redis('healthy');
await shared('flushed');
for (const [away, back] of [['pause', 'go on'], ['stop', 'start']]) {
  well(false);
  await redis(away);
  await redis('degraded');
  await pause(1500);
  await redis(back);
  await redis('healthy');
  // What began meanwhile may overlap.
  await pause(2000);
  well(true);
  await shared(back);
}
// A moment that nobody notices.
await redis('pause');
await pause(100);
await redis('go on');
await shared('after a moment');
stopped = true;
await Promise.all(everybody);
await shared('at last');
for (const room of rooms) await room.expectAgreement();
const overlaps = rooms.map((room) => room.overlaps()).reduce((a, b) => a + b);
const sum = (of) => rooms.map(of).reduce((a, b) => a + b);
const changes = sum((room) => room.writers[0].changes + room.writers[1].changes);
const summary = { wrong: wrong.slice(0, 10), wrongs: wrong.length, overlaps, changes, runs: sum((room) => room.runs.length) };
console.log(JSON.stringify({ summary }));
process.exit(wrong.length || overlaps ? 1 : 0);
