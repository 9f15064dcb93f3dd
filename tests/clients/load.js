// A hundred users in twenty rooms who all press Run for half a minute, half of them over HTTP and half
// over their sockets, with programs that print their own user's token.
//
// Prints one JSON line a result, as it comes ({"answered": <executionId>, "room": ..., "code": ...}), and at the
// end {"summary": ...}; exits 1 when anything was attributed wrongly. With TOLERATE=1 the daemon may vanish:
// the script then ends quietly at the first broken connection.
import { randomUUID } from 'node:crypto';
import { Agent, request } from 'node:http';
import { TRANSPORTS, URLS, join, sequences } from './lib.js';

const ROOMS = Number(process.env.ROOMS ?? 20);
const USERS = Number(process.env.USERS_A_ROOM ?? 5);
const SECONDS = Number(process.env.SECONDS ?? 30);
const tolerate = process.env.TOLERATE === '1';
const agent = new Agent({ keepAlive: true, maxSockets: ROOMS * USERS });
const wrong = [];
const refused = {};
const spans = new Map();
let answered = 0;

function vanish(why) {
  if (!tolerate) {
    console.error(why);
    process.exit(2);
  }
  process.stdout.write('', () => process.exit(0));
}
process.on('unhandledRejection', vanish);

const program = (token) =>
  `import time\na = time.clock_gettime_ns(time.CLOCK_MONOTONIC)\nprint('${token}')\nprint(a, time.clock_gettime_ns(time.CLOCK_MONOTONIC))`;

function post(body) {
  const text = JSON.stringify(body);
  return new Promise((resolve, reject) => {
    const call = request(`${URLS[0]}/compile`, { method: 'POST', agent, headers: { 'content-type': 'application/json' } }, (response) => {
      let data = '';
      response.setEncoding('utf8').on('data', (part) => (data += part)).on('error', reject);
      response.on('end', () => {
        try {
          resolve(JSON.parse(data));
        } catch (error) {
          reject(error);
        }
      });
    });
    call.on('error', reject).end(text);
  });
}

/** Checks one result against what its sender knows, and keeps the program's own times. */
function judge(result, expected, token) {
  if (!result.success) {
    refused[result.code ?? result.error] = (refused[result.code ?? result.error] ?? 0) + 1;
    return;
  }
  answered += 1;
  const [printed, stamps] = result.stdout.trim().split('\n');
  if (printed !== token) wrong.push({ expected: token, result });
  for (const [field, value] of Object.entries(expected)) if (result[field] !== value) wrong.push({ field, value, result });
  spans.get(expected.roomId).push(stamps.split(' ').map(BigInt));
  console.log(JSON.stringify({ answered: result.executionId, room: expected.roomId, user: expected.userId, token }));
}

async function user(room, name, transport, overHttp, edits, end) {
  const client = await join(transport, room, name);
  client.socket.on('disconnect', () => Date.now() < end && vanish(`${name} was disconnected`));
  for (let n = 0; Date.now() < end; n++) {
    const token = `${room}/${name}/${n}/${randomUUID()}`;
    const expected = { roomId: room, userId: client.userId, username: name };
    if (edits && n % 10 === 0) {
      client.emit('code-change', { roomId: room, code: token });
      client.changes = (client.changes ?? 0) + 1;
    }
    if (overHttp) {
      const correlationId = randomUUID();
      const body = { language: 'python', code: program(token), ...expected, correlationId };
      judge(await post(body), { ...expected, correlationId }, token);
    } else {
      client.emit('execute-code', { language: 'python', code: program(token), ...expected });
      judge(await client.wait('execution-result', (r) => r.userId === client.userId), expected, token);
    }
  }
  return client;
}

const started = Date.now();
const end = started + SECONDS * 1000;
const everybody = [];
for (let r = 0; r < ROOMS; r++) {
  const room = `load-${randomUUID().slice(0, 8)}`;
  spans.set(room, []);
  for (let u = 0; u < USERS; u++) everybody.push(user(room, `user-${r}-${u}`, TRANSPORTS[(r + u) % 2], u % 2 === 0, u === 0, end));
}
const clients = await Promise.all(everybody);

let overlaps = 0;
for (const list of spans.values()) {
  list.sort((a, b) => (a[0] < b[0] ? -1 : 1));
  for (let i = 1; i < list.length; i++) if (list[i - 1][1] > list[i][0]) overlaps += 1;
}
let received = 0;
for (const client of clients) {
  const numbers = sequences(client);
  received += numbers.length;
  // A member counts its own changes itself: so many numbers, and no others, may be missing from what it received.
  let next = client.state.nextExpectedSequence;
  let missing = 0;
  for (const number of numbers) {
    if (number < next) wrong.push({ client: client.username, number, next });
    missing += number - next;
    next = number + 1;
  }
  if (missing > (client.changes ?? 0)) wrong.push({ client: client.username, missing, changes: client.changes ?? 0 });
}
const summary = { answered, refused, overlaps, wrong: wrong.slice(0, 5), wrongs: wrong.length, received, seconds: (Date.now() - started) / 1000 };
console.log(JSON.stringify({ summary }));
process.exit(wrong.length || overlaps || answered === 0 ? 1 : 0);
