// Opens COUNT sockets in ROOMS rooms and leaves them idle until stdin ends. Prints {"connected": n} when all have joined.
import { io } from 'socket.io-client';

const COUNT = Number(process.env.COUNT ?? 10_000);
const ROOMS = Number(process.env.ROOMS ?? 1_000);
const AT_ONCE = 50;
const sockets = [];

async function open(n) {
  const socket = io(process.env.CRANKCASE_URLS, { transports: ['websocket'], forceNew: true, reconnection: false });
  sockets.push(socket);
  await new Promise((resolve, reject) => {
    socket.once('connect_error', reject);
    socket.once('room-state', resolve);
    socket.once('connect', () => socket.emit('join-room', { roomId: `idle-${n % ROOMS}`, username: `u${n}`, userId: `u${n}` }));
  });
}

let next = 0;
const worker = async () => {
  while (next < COUNT) await open(next++);
};
await Promise.all(Array.from({ length: AT_ONCE }, worker));
console.log(JSON.stringify({ connected: sockets.filter((socket) => socket.connected).length }));
process.stdin.on('end', () => process.exit(0)).resume();
