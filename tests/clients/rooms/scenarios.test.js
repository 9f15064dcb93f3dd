// The two scenarios for which the service exists: people of one room press Run at the same moment.
import { assert, assertWithoutHoles, join, overBoth, post, sequences, unique } from '../lib.js';

const program = (token) => `import time\na = time.monotonic_ns()\ntime.sleep(0.1)\nprint('${token}', a, time.monotonic_ns())`;

function assertOneAfterTheOther(outputs) {
  const spans = outputs.map((text) => text.trim().split(' ').slice(1).map(BigInt)).sort((a, b) => (a[0] < b[0] ? -1 : 1));
  for (let i = 1; i < spans.length; i++) assert.ok(spans[i - 1][1] <= spans[i][0], `they overlap: ${outputs}`);
}

overBoth('people of one room press Run at the same moment', (transport, it) => {
  it('two HTTP requests at once: each gets its own result, the room sees both in order', async () => {
    const roomId = unique('room');
    const watcher = await join(transport, roomId, 'watcher');
    const run = (user) =>
      post('/compile', {
        language: 'python', code: program(`token-${user}`), roomId, userId: user, username: user, correlationId: `c-${user}`,
      });
    const [alice, bob] = await Promise.all([run('alice'), run('bob')]);
    for (const [answer, user] of [[alice, 'alice'], [bob, 'bob']]) {
      assert.equal(answer.status, 200, JSON.stringify(answer.body));
      assert.match(answer.body.output, new RegExp(`^token-${user} `));
      assert.equal(answer.body.userId, user);
      assert.equal(answer.body.correlationId, `c-${user}`);
      assert.equal(answer.body.success, true);
    }
    assertOneAfterTheOther([alice.body.output, bob.body.output]);
    for (const user of ['alice', 'bob']) {
      const result = await watcher.wait('execution-result', (r) => r.correlationId === `c-${user}`);
      assert.equal(result.userId, user);
      assert.match(result.output, new RegExp(`^token-${user} `));
    }
    const order = watcher.received.filter((e) => /^execution-(started|result)$/.test(e.name));
    assert.deepEqual(order.map((e) => e.name), ['execution-started', 'execution-result', 'execution-started', 'execution-result']);
    assert.equal(order[0].payload.correlationId, order[1].payload.correlationId);
    assert.equal(order[2].payload.correlationId, order[3].payload.correlationId);
    assertWithoutHoles(sequences(watcher), watcher.state.nextExpectedSequence);
  });

  it('two execute-code within 50 ms: no overlap, the right names, everybody sees both', async () => {
    const roomId = unique('room');
    const alice = await join(transport, roomId, 'alice');
    const bob = await join(transport, roomId, 'bob');
    const sent = Date.now();
    for (const who of [alice, bob])
      who.emit('execute-code', {
        roomId, code: program(`token-${who.username}`), language: 'python', userId: who.userId, username: who.username,
      });
    assert.ok(Date.now() - sent < 50);
    for (const member of [alice, bob]) {
      const outputs = [];
      for (const who of [alice, bob]) {
        const result = await member.wait('execution-result', (r) => r.userId === who.userId);
        assert.equal(result.success, true, JSON.stringify(result));
        assert.equal(result.username, who.username);
        assert.equal(result.roomId, roomId);
        assert.match(result.output, new RegExp(`^token-${who.username} `));
        outputs.push(result.output);
      }
      assertOneAfterTheOther(outputs);
      const names = member.received.map((e) => e.name).filter((name) => /^execution-(started|result)$/.test(name));
      assert.deepEqual(names, ['execution-started', 'execution-result', 'execution-started', 'execution-result']);
      assertWithoutHoles(sequences(member));
    }
  });
});
