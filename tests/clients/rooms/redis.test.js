// Two daemons with one Redis: a room's members may be on either.
import { URLS, assert, assertWithoutHoles, join, overBoth, post, sequences, unique } from '../lib.js';

overBoth('one room on two daemons', (transport, it) => {
  it('changes cross, with one row of numbers', async () => {
    const roomId = unique('room');
    const alice = await join(transport, roomId, 'alice', { url: URLS[0] });
    const bob = await join(transport, roomId, 'bob', { url: URLS[1] });
    const watchers = [await join(transport, roomId, 'w0', { url: URLS[0] }), await join(transport, roomId, 'w1', { url: URLS[1] })];
    for (let n = 0; n < 20; n++) for (const who of [alice, bob]) who.emit('code-change', { roomId, code: `${who.username} ${n}` });
    const last = watchers[1].state.sequence + 40;
    for (const watcher of watchers) {
      await watcher.wait('code-update', (u) => u.sequence === last);
      assertWithoutHoles(sequences(watcher));
    }
    assert.deepEqual(watchers[0].all('code-update').slice(-40), watchers[1].all('code-update').slice(-40));
  });

  it('runs are announced on both and never overlap', async () => {
    const roomId = unique('room');
    const members = await Promise.all([0, 1].map((n) => join(transport, roomId, `m${n}`, { url: URLS[n] })));
    const code = 'import time\na = time.monotonic_ns()\ntime.sleep(0.1)\nprint(a, time.monotonic_ns())';
    const answers = await Promise.all(
      [0, 1, 0, 1].map((n, i) => post('/compile', { language: 'python', code, roomId, userId: `u${i}`, username: `u${i}` }, URLS[n])),
    );
    const spans = answers.map((a) => a.body.output.trim().split(' ').map(BigInt)).sort((a, b) => (a[0] < b[0] ? -1 : 1));
    for (let i = 1; i < spans.length; i++) assert.ok(spans[i - 1][1] <= spans[i][0]);
    for (const member of members) {
      for (const { body } of answers) await member.wait('execution-result', (r) => r.executionId === body.executionId);
      assertWithoutHoles(sequences(member));
    }
  });

  it('chat, presence and participants cross', async () => {
    const roomId = unique('room');
    const alice = await join(transport, roomId, 'alice', { url: URLS[0] });
    const bob = await join(transport, roomId, 'bob', { url: URLS[1] });
    assert.equal((await alice.wait('user-joined')).username, 'bob');
    alice.emit('send-chat', { roomId, username: 'alice', message: 'across' });
    assert.equal((await bob.wait('receive-chat')).message, 'across');
    await alice.wait('participants-list', (list) => list.some((p) => p.username === 'bob'));
    bob.close();
    assert.equal((await alice.wait('user-left')).username, 'bob');
  });
});
