// The grants of simple-oauth2, as its documentation has them.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { AuthorizationCode, ClientCredentials, ResourceOwnerPassword } from 'simple-oauth2'
import { browse, finish, given } from './test.mjs'

const settings = ({ client_id, client_secret }, more) => ({
  client: { id: client_id, secret: client_secret },
  auth: {
    tokenHost: given.issuer,
    tokenPath: '/oauth2/token',
    revokePath: '/oauth2/revoke',
    ...more,
  },
  options: given.options,
})

const refused = (status, error) => (e) => e.output.statusCode === status && e.data.payload.error === error

async function call(token) {
  const authorization = { headers: { Authorization: `Bearer ${token.token.access_token}` } }
  const answer = await fetch(new URL('/v2/client/site/items', given.issuer), authorization)
  return { status: answer.status, items: (await answer.json()).payload?.items }
}

// live takes a token through its life: used, refreshed, revoked.
async function live(token) {
  assert.equal(token.expired(), false)
  assert.equal(token.token.token_type, 'Bearer')
  assert.equal((await call(token)).items[0].label, 'Home')
  const renewed = await token.refresh()
  assert.notEqual(renewed.token.access_token, token.token.access_token)
  assert.equal((await call(renewed)).status, 200)
  await renewed.revokeAll()
  assert.equal((await call(renewed)).status, 401)
  await assert.rejects(renewed.refresh(), refused(400, 'invalid_grant'))
}

// A commercial application: code, and its own token.
const commercial = new AuthorizationCode(settings(given.commercial, { authorizePath: '/oauth2/authorize' }))
const state = randomBytes(16).toString('hex')
const url = commercial.authorizeURL({ redirect_uri: given.redirect_uri, scope: ['security:read', 'socket:read'], state })
const back = new URL(await browse(url, 'allow'))
assert.equal(back.searchParams.get('state'), state)
const code = { code: back.searchParams.get('code'), redirect_uri: given.redirect_uri }
const token = await commercial.getToken(code)
assert.equal(token.token.scope, 'security:read socket:read')
await live(token)
await assert.rejects(commercial.getToken(code), refused(400, 'invalid_grant'))

const own = await new ClientCredentials(settings(given.commercial)).getToken({ scope: 'socket:read' })
assert.equal(own.token.scope, 'socket:read')
assert.deepEqual(await call(own), { status: 200, items: [] })

// A personal application: password.
const personal = new ResourceOwnerPassword(settings(given.personal))
const { username, password } = given
await live(await personal.getToken({ username, password }))
await assert.rejects(personal.getToken({ username, password: 'wrong' }), refused(400, 'invalid_grant'))

// The wrong secret.
const stranger = new ClientCredentials(settings({ ...given.commercial, client_secret: '0'.repeat(64) }))
const status = given.options.authorizationMethod === 'header' ? 401 : 400
await assert.rejects(stranger.getToken({}), refused(status, 'invalid_client'))
finish()
