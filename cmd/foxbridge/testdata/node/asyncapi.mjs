// The parser of the AsyncAPI project, with all of its rules.
import assert from 'node:assert/strict'
import parser from '@asyncapi/parser'
import { finish, given } from './test.mjs'

const { document, diagnostics } = await new parser.Parser().parse(given.document)
const found = diagnostics.map((d) => `${d.path.join('.')}: ${d.message} (${d.code})`)
assert.deepEqual(found, [])
assert.equal(document.version(), '3.1.0')
assert.equal(document.operations().length, 5)
finish()
