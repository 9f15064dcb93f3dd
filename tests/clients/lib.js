// What the socket tests share: clients that remember every event, so that a test waits for what is
// to come or finds what has come already, and never for a fixed time.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { afterEach, describe, it } from 'node:test';
import { io } from 'socket.io-client';

export const URLS = (process.env.CRANKCASE_URLS ?? 'http://127.0.0.1:4334').split(',');
export const TRANSPORTS = ['websocket', 'polling'];
const DEADLINE = 30_000;

const open = new Set();

/** A name that no other test has. */
export const unique = (prefix) => `${prefix}-${randomUUID().slice(0, 13)}`;

/** One connection and all that it received. */
export class Client {
  constructor(url, transport) {
    this.received = [];
    this.waiting = [];
    this.socket = io(url, { transports: [transport], forceNew: true, reconnection: false, timeout: DEADLINE });
    this.socket.onAny((name, payload) => {
      const event = { name, payload, taken: false };
      this.received.push(event);
      for (const look of [...this.waiting]) look();
    });
    open.add(this);
  }

  /** Connects. */
  static async connect(transport, url = URLS[0]) {
    const client = new Client(url, transport);
    await new Promise((resolve, reject) => {
      client.socket.once('connect', resolve);
      client.socket.once('connect_error', reject);
    });
    return client;
  }

  emit(name, payload) {
    this.socket.emit(name, payload);
  }

  /** The first event of that name, not taken before, for which `want` holds: there already or to come. */
  wait(name, want = () => true) {
    const trace = new Error(`no ${name} came`);
    return new Promise((resolve, reject) => {
      const look = () => {
        const event = this.received.find((e) => !e.taken && e.name === name && want(e.payload));
        if (!event) return;
        event.taken = true;
        clearTimeout(timer);
        this.waiting = this.waiting.filter((other) => other !== look);
        resolve(event.payload);
      };
      const timer = setTimeout(() => {
        trace.message += `; received: ${JSON.stringify(this.received).slice(0, 4000)}`;
        this.waiting = this.waiting.filter((other) => other !== look);
        reject(trace);
      }, DEADLINE);
      this.waiting.push(look);
      look();
    });
  }

  /** Payloads of all events of that name so far. */
  all(name) {
    return this.received.filter((event) => event.name === name).map((event) => event.payload);
  }

  /** Waits until the server has handled everything this client sent, and what came of it is here. */
  async settled(roomId) {
    const before = this.all('room-state').length;
    this.emit('request-orderingstate', { roomId });
    while (this.all('room-state').length === before) await this.wait('room-state');
    return this.all('room-state').at(-1);
  }

  close() {
    this.socket.disconnect();
    open.delete(this);
  }
}

/** Connects and joins; the client's `state` is the room's as it was told. */
export async function join(transport, roomId, username, options = {}) {
  const { url, userId = `id-${username}`, old = false, color } = options;
  const client = await Client.connect(transport, url);
  client.emit('join-room', { roomId, username, ...(old ? {} : { userId }), ...(color ? { color } : {}) });
  client.state = await client.wait('room-state');
  client.userId = old ? client.socket.id : userId;
  client.username = username;
  return client;
}

/** Waits until whatever the server sent to `to` before now has arrived: a chat message from another member goes behind it. */
export async function behind(from, to, roomId) {
  const message = unique('mark');
  from.emit('send-chat', { roomId, username: from.username, message });
  await to.wait('receive-chat', (chat) => chat.message === message);
}

/** `POST` with JSON. */
export async function post(path, body, url = URLS[0]) {
  const response = await fetch(url + path, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  return { status: response.status, headers: response.headers, body: await response.json() };
}

/** Room sequence numbers of all state-changing messages that a client received, in the order of their arrival. */
export function sequences(client) {
  const changing = new Set(['code-update', 'language-update', 'execution-started', 'execution-result']);
  return client.received
    .filter((event) => changing.has(event.name) && typeof event.payload?.sequence === 'number')
    .map((event) => event.payload.sequence);
}

/** Numbers follow each other without a hole. */
export function assertWithoutHoles(numbers, first = numbers[0]) {
  assert.deepEqual(numbers, numbers.map((_, index) => first + index));
}

/** The same tests over websocket and over polling; every client is closed after each. */
export function overBoth(title, tests) {
  for (const transport of TRANSPORTS) {
    describe(`${title} (${transport})`, () => {
      afterEach(() => {
        for (const client of [...open]) client.close();
      });
      tests(transport, it);
    });
  }
}

export { assert };
