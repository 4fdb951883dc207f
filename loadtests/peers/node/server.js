// Items on fastify, pg and fast-jwt, without anything a product adds. See ../README.md for what a peer does.

import Fastify from 'fastify'
import { createVerifier } from 'fast-jwt'
import pg from 'pg'

const CONNECTIONS = 10
const MAX_ATTRIBUTES_BYTES = 16 * 1024
const JSON_TYPE = 'application/json; charset=utf-8'

// PostgreSQL's own text is what goes out, so nothing is parsed to be printed again.
const asItCame = { getTypeParser: () => (value) => value }
const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: CONNECTIONS, idleTimeoutMillis: 0 })

const COLUMNS = 'id, owner_id, title, description, attributes, version, created_at, updated_at'
const GET = prepared('get', `SELECT ${COLUMNS} FROM items WHERE id = $1 AND owner_id = $2`)
const LIST = prepared('list', `SELECT ${COLUMNS} FROM items WHERE owner_id = $1 ORDER BY created_at DESC, id DESC LIMIT $2`)
const CREATE = prepared(
  'create',
  `WITH made AS (
    INSERT INTO items (owner_id, title, description, attributes) VALUES ($1, $2, $3, $4::jsonb) RETURNING ${COLUMNS}
  ), announced AS (
    INSERT INTO outbox (kind, name, user_id, payload) SELECT 'event', 'item.created', owner_id, to_jsonb(made) FROM made
  )
  SELECT ${COLUMNS} FROM made`
)

function prepared(name, text) {
  return (values) => pool.query({ name, text, values, rowMode: 'array', types: asItCame })
}

// PostgreSQL writes 2026-01-31 12:00:00.5+00, JSON wants 2026-01-31T12:00:00.5+00:00.
function moment(text) {
  return `"${text.slice(0, 10)}T${text.slice(11)}:00"`
}

function encode([id, ownerId, title, description, attributes, version, createdAt, updatedAt]) {
  return (
    `{"id":${id},"owner_id":${ownerId},"title":${JSON.stringify(title)},"description":${JSON.stringify(description)},` +
    `"attributes":${attributes},"version":${version},"created_at":${moment(createdAt)},"updated_at":${moment(updatedAt)}}`
  )
}

const verify = createVerifier({
  key: process.env.SECRET_KEY,
  algorithms: ['HS256'],
  allowedAud: 'access',
  allowedIss: process.env.PUBLIC_URL,
  checkTyp: 'at+jwt',
  requiredClaims: ['exp', 'sub'],
  cache: true
})

const server = Fastify({ ajv: { customOptions: { removeAdditional: false, coerceTypes: false } } })
server.decorateRequest('userId', null)

async function authenticate(request, reply) {
  const authorization = request.headers.authorization
  if (authorization === undefined || !authorization.startsWith('Bearer ')) return reply.code(401).send({ title: 'Unauthorized' })
  try {
    request.userId = verify(authorization.slice(7)).sub
  } catch {
    return reply.code(401).send({ title: 'Unauthorized' })
  }
}

server.setErrorHandler((error, request, reply) => reply.code(error.validation ? 422 : (error.statusCode ?? 500)).send({ title: error.message }))

const signedIn = { onRequest: authenticate }
const oneItem = { params: { type: 'object', properties: { id: { type: 'string', pattern: '^[1-9][0-9]{0,17}$' } } } }
const page = { querystring: { type: 'object', properties: { limit: { type: 'string', pattern: '^([1-9][0-9]?|100)$', default: '50' } } } }
const newItem = {
  body: {
    type: 'object',
    additionalProperties: false,
    required: ['title'],
    properties: {
      title: { type: 'string', minLength: 1, maxLength: 200 },
      description: { type: ['string', 'null'], maxLength: 10000, default: null },
      attributes: { type: 'object', default: {} }
    }
  }
}

server.get('/health/live', (request, reply) => {
  reply.header('content-type', JSON_TYPE).send('{"status":"ok"}')
})

server.get('/api/v1/items/:id', { ...signedIn, schema: oneItem }, async (request, reply) => {
  const { rows } = await GET([request.params.id, request.userId])
  if (rows.length === 0) return reply.code(404).send({ title: 'Not found' })
  return reply.header('content-type', JSON_TYPE).send(encode(rows[0]))
})

server.get('/api/v1/items/', { ...signedIn, schema: page }, async (request, reply) => {
  const { rows } = await LIST([request.userId, request.query.limit])
  return reply.header('content-type', JSON_TYPE).send(`[${rows.map(encode).join(',')}]`)
})

server.post('/api/v1/items/', { ...signedIn, schema: newItem }, async (request, reply) => {
  const { title, description, attributes } = request.body
  const document = JSON.stringify(attributes)
  if (Buffer.byteLength(document) > MAX_ATTRIBUTES_BYTES) return reply.code(422).send({ title: 'attributes are too large' })
  const { rows } = await CREATE([request.userId, title, description, document])
  return reply.code(201).header('content-type', JSON_TYPE).send(encode(rows[0]))
})

await server.listen({ host: '127.0.0.1', port: Number(process.env.PORT) })
