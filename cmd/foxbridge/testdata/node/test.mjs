// What a script shares with the test that runs it: the first line of its input is what it is
// given, and each further one the answer to a question that it printed.
import { createInterface } from 'node:readline'

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()

async function read() {
  const { value, done } = await lines.next()
  if (done) throw new Error('the test has ended')
  return JSON.parse(value)
}

export const given = await read()

// browse sends a person to an address, who answers "allow" or "deny" there, and gives the
// address to which the person is sent back.
export async function browse(address, answer) {
  console.log(JSON.stringify({ open: String(address), answer }))
  return read()
}

// finish tells the test that everything was done.
export function finish() {
  console.log(JSON.stringify({ finished: true }))
  process.stdin.destroy()
}
