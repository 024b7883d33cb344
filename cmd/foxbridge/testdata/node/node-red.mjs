// Plays a flow of Node-RED, as far as its nodes are those of the page: what each does with a
// message follows Node-RED's own documentation of it.
import assert from 'node:assert/strict'
import vm from 'node:vm'
import { finish, given } from './test.mjs'

const nodes = new Map(given.flow.map((node) => [node.id, node]))
const tab = given.flow.find((node) => node.type === 'tab')
const context = new Map()
const requests = []
const shown = []

const flow = { get: (key) => context.get(key), set: (key, value) => context.set(key, value) }
const env = {
  get(name) {
    assert.ok(tab.env.some((variable) => variable.name === name), `the tab has no variable ${name}`)
    return given.env[name]
  },
}

async function request(node, msg) {
  assert.equal(node.method, 'use')
  assert.equal(node.ret, 'obj')
  const form = msg.headers['Content-Type'] === 'application/x-www-form-urlencoded'
  const body = msg.method === 'GET' ? undefined : form ? new URLSearchParams(msg.payload) : msg.payload
  const answer = await fetch(msg.url, { method: msg.method, headers: msg.headers, body })
  requests.push(`${msg.grant && form ? msg.grant : msg.method + ' ' + new URL(msg.url).pathname} ${answer.status}`)
  return [{ ...msg, statusCode: answer.status, headers: Object.fromEntries(answer.headers), payload: await answer.json() }]
}

async function work(node, msg) {
  switch (node.type) {
    case 'inject':
      return [{ ...msg, ...Object.fromEntries(node.props.map(({ p, v, vt }) => [p, vt === 'json' ? JSON.parse(v) : v])) }]
    case 'function': {
      const out = await vm.runInNewContext(`(function (msg) {\n${node.func}\n})(msg)`, { msg, flow, env, Buffer })
      return Array.isArray(out) ? out : [out]
    }
    case 'http request':
      return request(node, msg)
    case 'debug':
      shown.push({ node: node.name, payload: msg.payload, status: msg.statusCode })
      return []
    default:
      throw new Error(`no ${node.type} here`)
  }
}

async function send(node, msg) {
  const out = await work(node, msg)
  for (const [port, next] of out.entries()) {
    if (next) for (const id of node.wires[port]) await send(nodes.get(id), next)
  }
}

// press starts a flow at a button, and tells what was requested and what was shown.
async function press(name) {
  requests.length = 0
  shown.length = 0
  const button = given.flow.find((node) => node.type === 'inject' && node.name === name)
  await send(button, { _msgid: name })
  assert.equal(shown.length, 1, name)
  return { requests: [...requests], ...shown[0] }
}

const path = (rest) => `/v2/site/${given.env.FOXBRIDGE_SITE_ID}${rest}`
const done = { request: 'OK' }

assert.deepEqual(await press('Arm'), {
  requests: ['password 200', `POST ${path('/security/set/armed')} 200`], node: 'Done', payload: done, status: 200,
})
const level = await press('Level, every minute')
assert.deepEqual(level.requests, [`GET ${path('/security')} 200`], 'a token is kept')
assert.equal(level.payload.statusLabel, 'armed')

for (const button of given.flow.filter((node) => node.type === 'inject' && !node.repeat)) {
  const pressed = await press(button.name)
  assert.equal(pressed.requests.length, 1, button.name)
  assert.deepEqual([pressed.node, pressed.payload], ['Done', done], button.name)
}

// The access token has ended.
const spoil = (...keys) => context.set('token', { ...context.get('token'), ...Object.fromEntries(keys.map((k) => [k, '0'.repeat(64)])) })
spoil('access_token')
const disarm = `POST ${path('/security/set/disarmed')}`
assert.deepEqual((await press('Disarm')).requests, [`${disarm} 401`, 'refresh_token 200', `${disarm} 200`])

// So has the refresh token.
spoil('access_token', 'refresh_token')
assert.deepEqual((await press('Disarm')).requests, [`${disarm} 401`, 'refresh_token 400', 'password 200', `${disarm} 200`])

// The password is wrong: that is said, and nothing is tried again.
context.clear()
given.env.FOXBRIDGE_PASSWORD = 'wrong'
const refused = await press('Disarm')
assert.deepEqual([refused.requests, refused.node, refused.payload.error], [['password 400'], 'Not done', 'invalid_grant'])
finish()
