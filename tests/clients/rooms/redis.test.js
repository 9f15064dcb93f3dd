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

  it('who joins on the second daemon finds the room as it is', async () => {
    const roomId = unique('room');
    const alice = await join(transport, roomId, 'alice', { url: URLS[0] });
    alice.emit('code-change', { roomId, code: 'import time; time.sleep(2); print("done")' });
    alice.emit('language-change', { roomId, language: 'python' });
    alice.emit('execute-code', { roomId, code: 'import time; time.sleep(2); print("done")', language: 'python' });
    const started = await alice.wait('execution-started');
    const bob = await join(transport, roomId, 'bob', { url: URLS[1] });
    const { executionState, ...state } = bob.state;
    const last = started.sequence;
    assert.deepEqual(state, { code: 'import time; time.sleep(2); print("done")', language: 'python', sequence: last, nextExpectedSequence: last + 1 });
    assert.equal(executionState.isExecuting, true);
    assert.ok(executionState.currentExecutionId);
    const result = await bob.wait('execution-result');
    assert.equal(result.correlationId, started.correlationId);
    assert.equal(result.output, 'done\n');
    assert.equal((await bob.settled(roomId)).executionState.executionCount, 1);
    assert.deepEqual(await alice.settled(roomId), await bob.settled(roomId));
  });

  it('both dialects hear changes of the other daemon', async () => {
    const roomId = unique('room');
    const alice = await join(transport, roomId, 'alice', { url: URLS[0] });
    const old = await join(transport, roomId, 'old', { url: URLS[1], old: true });
    await old.wait('code-update');
    alice.emit('code-change', { roomId, code: 'bare' });
    assert.equal(await old.wait('code-update'), 'bare');
    alice.emit('language-change', { roomId, language: 'go' });
    assert.equal(await old.wait('language-update'), 'go');
    old.emit('code-change', { roomId, code: 'back' });
    const update = await alice.wait('code-update');
    assert.deepEqual(update, { code: 'back', sequence: alice.state.sequence + 3, username: 'old' });
  });

  it('there is one host, and the next is on the other daemon', async () => {
    const roomId = unique('room');
    const alice = await join(transport, roomId, 'alice', { url: URLS[0] });
    assert.deepEqual(await alice.wait('host-assigned'), { isHost: true });
    const bob = await join(transport, roomId, 'bob', { url: URLS[1] });
    const list = await bob.wait('participants-list', (members) => members.length === 1);
    assert.deepEqual([list[0].username, list[0].isHost], ['alice', true]);
    bob.emit('start-recording', { roomId });
    assert.match((await bob.wait('error')).message, /only the host/);
    alice.close();
    assert.deepEqual(await bob.wait('host-assigned'), { isHost: true });
  });

  it('a recording is one for both, and each daemon finds its messages', async () => {
    const roomId = unique('room');
    const alice = await join(transport, roomId, 'alice', { url: URLS[0] });
    const bob = await join(transport, roomId, 'bob', { url: URLS[1] });
    alice.emit('start-recording', { roomId });
    await bob.wait('recording-started');
    const first = bob.state.sequence + 1;
    for (let n = 0; n < 4; n++) (n % 2 ? alice : bob).emit('code-change', { roomId, code: `${n}` });
    for (const member of [alice, bob]) await member.wait('code-update', (u) => u.code === (member === alice ? '2' : '3'));
    await alice.settled(roomId);
    alice.emit('stop-recording', { roomId });
    const ids = await Promise.all([alice, bob].map(async (member) => (await member.wait('recording-stopped')).recordingId));
    assert.equal(ids[0], ids[1]);
    const path = `/api/diagnostics/room/${roomId}/replay?fromSequence=${first}&toSequence=${first + 3}`;
    const told = async (url) => {
      // The log is saved within two seconds.
      for (let n = 0; n < 100; n++) {
        const body = await (await fetch(url + path)).json();
        if (body.count === 4) return body.messages.map(({ sequence, type, userId, payload }) => ({ sequence, type, userId, payload }));
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      return assert.fail(`${url} does not know the recording`);
    };
    assert.deepEqual(await told(URLS[0]), await told(URLS[1]));
  });

  it('a request that is repeated on the other daemon is not run twice', async () => {
    const roomId = unique('room');
    const watcher = await join(transport, roomId, 'watcher', { url: URLS[1] });
    const code = 'import time, uuid\ntime.sleep(0.5)\nprint(uuid.uuid4())';
    const body = { language: 'python', code, roomId, userId: 'u', username: 'u', correlationId: unique('c') };
    const [first, meanwhile] = await Promise.all([post('/compile', body, URLS[0]), post('/compile', body, URLS[1])]);
    const afterwards = await post('/compile', body, URLS[1]);
    for (const repeat of [meanwhile, afterwards]) {
      assert.equal(repeat.status, 200);
      assert.equal(repeat.body.executionId, first.body.executionId);
      assert.equal(repeat.body.output, first.body.output);
    }
    assert.ok([first, meanwhile].some((answer) => answer.headers.get('idempotent-replay') === 'true'));
    assert.equal(afterwards.headers.get('idempotent-replay'), 'true');
    const stranger = await post('/compile', { ...body, userId: 'v' }, URLS[1]);
    assert.notEqual(stranger.body.output, first.body.output);
    assert.equal((await watcher.settled(roomId)).executionState.executionCount, 2);
  });

  it('who comes back on the other daemon in the middle of a run gets its result', async () => {
    const roomId = unique('room');
    const alice = await join(transport, roomId, 'alice', { url: URLS[0] });
    alice.emit('execute-code', { roomId, code: "import time\ntime.sleep(2)\nprint('whole')", language: 'python', userId: 'id-alice' });
    const started = await alice.wait('execution-started');
    alice.socket.io.engine.close();
    const again = await join(transport, roomId, 'alice', { url: URLS[1] });
    assert.equal(again.state.executionState.isExecuting, true);
    const result = await again.wait('execution-result');
    assert.deepEqual([result.correlationId, result.output], [started.correlationId, 'whole\n']);
  });
});
