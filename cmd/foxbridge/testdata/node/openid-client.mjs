// The life of a commercial application's access with openid-client, as its documentation has
// it. Nothing is set but what a server on plain HTTP needs.
import assert from 'node:assert/strict'
import * as client from 'openid-client'
import { browse, finish, given } from './test.mjs'

const isPublic = given.authentication === 'none'
const authentication = {
  basic: () => client.ClientSecretBasic(given.client_secret),
  post: () => client.ClientSecretPost(given.client_secret),
  none: () => client.None(),
}[given.authentication]()

// Discovery (RFC 8414); the library checks the issuer.
const config = await client.discovery(new URL(given.issuer), given.client_id, undefined, authentication, {
  algorithm: 'oauth2',
  execute: [client.allowInsecureRequests],
})
const metadata = config.serverMetadata()
assert.equal(metadata.issuer, given.issuer)
assert.ok(metadata.supportsPKCE(), 'PKCE is announced')
assert.equal(metadata.authorization_response_iss_parameter_supported, true)

// ask begins an authorization, and gives where it ended with the library's checks.
async function ask(answer) {
  const pkceCodeVerifier = client.randomPKCECodeVerifier()
  const expectedState = client.randomState()
  const url = client.buildAuthorizationUrl(config, {
    redirect_uri: given.redirect_uri,
    scope: 'security:read socket:read',
    code_challenge: await client.calculatePKCECodeChallenge(pkceCodeVerifier),
    code_challenge_method: 'S256',
    state: expectedState,
  })
  return { back: new URL(await browse(url, answer)), checks: { pkceCodeVerifier, expectedState } }
}

const refused = (error) => (e) => e instanceof client.ResponseBodyError && e.error === error && e.status === 400

// An answer of another server, and one that does not say whose it is, are caught by iss
// (RFC 9207), and one to another browser by state.
const { back, checks } = await ask('allow')
for (const [name, value] of [['iss', 'https://evil.example.com'], ['iss', undefined], ['state', 'another']]) {
  const forged = new URL(back)
  value === undefined ? forged.searchParams.delete(name) : forged.searchParams.set(name, value)
  await assert.rejects(client.authorizationCodeGrant(config, forged, checks), client.ClientError)
}

// Code with PKCE.
const tokens = await client.authorizationCodeGrant(config, back, checks)
assert.equal(tokens.scope, 'security:read socket:read')
assert.equal(tokens.expires_in, 3600)
const items = new URL('/v2/client/site/items', given.issuer)
const sites = await client.fetchProtectedResource(config, tokens.access_token, items, 'GET')
assert.equal((await sites.json()).payload.items[0].label, 'Home')

// Who the person is.
const person = await client.fetchUserInfo(config, tokens.access_token, client.skipSubjectCheck)
assert.equal(person.email, given.email)
assert.equal((await client.fetchUserInfo(config, tokens.access_token, person.sub)).username, given.email)

// What a token is; a public application cannot prove who asks.
const known = client.tokenIntrospection(config, tokens.access_token)
if (isPublic) {
  await assert.rejects(known, client.WWWAuthenticateChallengeError)
} else {
  const { active, client_id, sub, iss, scope } = await known
  assert.deepEqual({ active, client_id, sub, iss, scope }, {
    active: true, client_id: given.client_id, sub: person.sub, iss: given.issuer, scope: tokens.scope,
  })
}

// Refresh, and again to less.
const renewed = await client.refreshTokenGrant(config, tokens.refresh_token)
assert.notEqual(renewed.access_token, tokens.access_token)
const less = await client.refreshTokenGrant(config, renewed.refresh_token, { scope: 'socket:read' })
assert.equal(less.scope, 'socket:read')
await assert.rejects(client.refreshTokenGrant(config, less.refresh_token, { scope: 'security:arm' }), refused('invalid_scope'))

// Revoke, and all of it has ended.
await client.tokenRevocation(config, less.refresh_token)
await client.tokenRevocation(config, less.refresh_token, { token_type_hint: 'refresh_token' })
await assert.rejects(client.refreshTokenGrant(config, less.refresh_token), refused('invalid_grant'))
await assert.rejects(client.fetchProtectedResource(config, less.access_token, items, 'GET'), (e) =>
  e instanceof client.WWWAuthenticateChallengeError && e.status === 401 && e.cause[0].parameters.error === 'invalid_token')
if (!isPublic) assert.deepEqual(await client.tokenIntrospection(config, less.access_token), { active: false })

// A code that is used twice, one with another's verifier, and a person who says no.
await assert.rejects(client.authorizationCodeGrant(config, back, checks), refused('invalid_grant'))
const other = await ask('allow')
const verifier = { ...other.checks, pkceCodeVerifier: client.randomPKCECodeVerifier() }
await assert.rejects(client.authorizationCodeGrant(config, other.back, verifier), refused('invalid_grant'))
const denied = await ask('deny')
await assert.rejects(client.authorizationCodeGrant(config, denied.back, denied.checks), (e) =>
  e instanceof client.AuthorizationResponseError && e.error === 'access_denied')

// The application's own token.
const own = client.clientCredentialsGrant(config, { scope: 'socket:read' })
if (isPublic) {
  await assert.rejects(own, refused('unauthorized_client'))
} else {
  assert.equal((await own).scope, 'socket:read')
}
finish()
