// Loaded before a script: leads its connections to this machine to the proxy that holds what
// is said against the description of the API. Their Host tells the proxy where they want to go.
import net from 'node:net'

const port = Number(process.env.PROXY_PORT)
const { connect } = net.Socket.prototype

net.Socket.prototype.connect = function (...args) {
  const options = Array.isArray(args[0]) ? args[0][0] : args[0]
  if (options?.port && ['127.0.0.1', 'localhost'].includes(options.host)) options.port = port
  return connect.apply(this, args)
}
