// Items on net/http, pgx and golang-jwt, without anything a product adds. See ../README.md for what a peer does.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	connections        = 10
	maxBodyBytes       = 1 << 20
	maxAttributesBytes = 16 * 1024
	maxTitle           = 200
	maxDescription     = 10_000

	columns     = "id, owner_id, title, description, attributes, version, created_at, updated_at"
	getQuery    = "SELECT " + columns + " FROM items WHERE id = $1 AND owner_id = $2"
	listQuery   = "SELECT " + columns + " FROM items WHERE owner_id = $1 ORDER BY created_at DESC, id DESC LIMIT $2"
	createQuery = `WITH made AS (
		INSERT INTO items (owner_id, title, description, attributes) VALUES ($1, $2, $3, $4::jsonb) RETURNING ` + columns + `
	), announced AS (
		INSERT INTO outbox (kind, name, user_id, payload) SELECT 'event', 'item.created', owner_id, to_jsonb(made) FROM made
	)
	SELECT ` + columns + ` FROM made`
	momentLayout = `"2006-01-02T15:04:05.999999+00:00"`
)

type item struct {
	id, ownerID          int64
	title                string
	description          *string
	attributes           []byte
	version              int32
	createdAt, updatedAt time.Time
}

func (i *item) scan(row pgx.Row) error {
	return row.Scan(&i.id, &i.ownerID, &i.title, &i.description, &i.attributes, &i.version, &i.createdAt, &i.updatedAt)
}

func (i *item) appendJSON(to []byte) []byte {
	to = strconv.AppendInt(append(to, `{"id":`...), i.id, 10)
	to = strconv.AppendInt(append(to, `,"owner_id":`...), i.ownerID, 10)
	to = appendString(append(to, `,"title":`...), i.title)
	to = append(to, `,"description":`...)
	if i.description == nil {
		to = append(to, "null"...)
	} else {
		to = appendString(to, *i.description)
	}
	to = append(append(to, `,"attributes":`...), i.attributes...)
	to = strconv.AppendInt(append(to, `,"version":`...), int64(i.version), 10)
	to = i.createdAt.UTC().AppendFormat(append(to, `,"created_at":`...), momentLayout)
	to = i.updatedAt.UTC().AppendFormat(append(to, `,"updated_at":`...), momentLayout)
	return append(to, '}')
}

// appendString writes a JSON string that escapes what JSON demands and nothing more; encoding/json escapes <, > and & too.
func appendString(to []byte, text string) []byte {
	const hex = "0123456789abcdef"
	to = append(to, '"')
	start := 0
	for at := 0; at < len(text); at++ {
		char := text[at]
		if char >= ' ' && char != '"' && char != '\\' {
			continue
		}
		to = append(to, text[start:at]...)
		start = at + 1
		if short := strings.IndexByte("\"\\\n\r\t\b\f", char); short >= 0 {
			to = append(to, '\\', `"\nrtbf`[short])
		} else {
			to = append(to, '\\', 'u', '0', '0', hex[char>>4], hex[char&15])
		}
	}
	return append(append(to, text[start:]...), '"')
}

type server struct {
	pool   *pgxpool.Pool
	parser *jwt.Parser
	key    []byte
	buffer sync.Pool
}

// user returns whom the request's access token speaks for.
func (s *server) user(r *http.Request) (int64, error) {
	raw, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !bearer {
		return 0, errors.New("no bearer token")
	}
	var found jwt.RegisteredClaims
	token, err := s.parser.ParseWithClaims(raw, &found, func(*jwt.Token) (any, error) { return s.key, nil })
	if err != nil {
		return 0, err
	}
	if token.Header["typ"] != "at+jwt" {
		return 0, errors.New("another type of token")
	}
	return strconv.ParseInt(found.Subject, 10, 64)
}

func (s *server) signedIn(handle func(http.ResponseWriter, *http.Request, int64)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		user, err := s.user(r)
		if err != nil {
			refuse(w, http.StatusUnauthorized, "Unauthorized")
			return
		}
		handle(w, r, user)
	}
}

func refuse(w http.ResponseWriter, status int, title string) {
	answer(w, status, appendString([]byte(`{"title":`), title), '}')
}

func answer(w http.ResponseWriter, status int, body []byte, end ...byte) {
	body = append(body, end...)
	header := w.Header()
	header["Content-Type"] = []string{"application/json"}
	header["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	w.Write(body)
}

func (s *server) read(w http.ResponseWriter, r *http.Request, user int64) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil || id < 1 {
		refuse(w, http.StatusUnprocessableEntity, "id must be a positive integer")
		return
	}
	s.answerRow(w, http.StatusOK, s.pool.QueryRow(r.Context(), getQuery, id, user))
}

func (s *server) answerRow(w http.ResponseWriter, status int, row pgx.Row) {
	var found item
	switch err := found.scan(row); {
	case errors.Is(err, pgx.ErrNoRows):
		refuse(w, http.StatusNotFound, "Not found")
	case err != nil:
		refuse(w, http.StatusInternalServerError, "PostgreSQL failed")
	default:
		buffer := s.buffer.Get().(*[]byte)
		*buffer = found.appendJSON((*buffer)[:0])
		answer(w, status, *buffer)
		s.buffer.Put(buffer)
	}
}

func (s *server) list(w http.ResponseWriter, r *http.Request, user int64) {
	limit := 50
	if given := r.URL.Query().Get("limit"); given != "" {
		var err error
		if limit, err = strconv.Atoi(given); err != nil || limit < 1 || limit > 100 {
			refuse(w, http.StatusUnprocessableEntity, "limit must be 1 to 100")
			return
		}
	}
	rows, err := s.pool.Query(r.Context(), listQuery, user, limit)
	if err != nil {
		refuse(w, http.StatusInternalServerError, "PostgreSQL failed")
		return
	}
	defer rows.Close()
	buffer := s.buffer.Get().(*[]byte)
	defer s.buffer.Put(buffer)
	body := append((*buffer)[:0], '[')
	var found item
	for first := true; rows.Next(); first = false {
		if err := found.scan(rows); err != nil {
			break // rows.Err says it too
		}
		if !first {
			body = append(body, ',')
		}
		body = found.appendJSON(body)
	}
	if rows.Err() != nil {
		refuse(w, http.StatusInternalServerError, "PostgreSQL failed")
		return
	}
	*buffer = append(body, ']')
	answer(w, http.StatusOK, *buffer)
}

type newItem struct {
	Title       *string         `json:"title"`
	Description *string         `json:"description"`
	Attributes  json.RawMessage `json:"attributes"`
}

// fault returns what is wrong with a new item, nothing where it is good.
func (n *newItem) fault() string {
	switch {
	case n.Title == nil || *n.Title == "" || utf8.RuneCountInString(*n.Title) > maxTitle:
		return "title must have 1 to 200 characters"
	case n.Description != nil && utf8.RuneCountInString(*n.Description) > maxDescription:
		return "description must have at most 10000 characters"
	case len(n.Attributes) > maxAttributesBytes || (n.Attributes != nil && n.Attributes[0] != '{'):
		return "attributes must be an object of at most 16 KiB"
	}
	return ""
}

func (s *server) create(w http.ResponseWriter, r *http.Request, user int64) {
	var given newItem
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBodyBytes))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&given); err != nil {
		refuse(w, http.StatusUnprocessableEntity, "the body is no item")
		return
	}
	if fault := given.fault(); fault != "" {
		refuse(w, http.StatusUnprocessableEntity, fault)
		return
	}
	attributes := []byte("{}")
	if given.Attributes != nil {
		attributes = given.Attributes
	}
	s.answerRow(w, http.StatusCreated, s.pool.QueryRow(r.Context(), createQuery, user, *given.Title, given.Description, attributes))
}

func health(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, []byte(`{"status":"ok"}`))
}

func main() {
	config, err := pgxpool.ParseConfig(os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal("DATABASE_URL is not understood")
	}
	config.MaxConns = connections
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		log.Fatal(err)
	}
	s := &server{
		pool: pool,
		key:  []byte(os.Getenv("SECRET_KEY")),
		parser: jwt.NewParser(
			jwt.WithValidMethods([]string{"HS256"}),
			jwt.WithAudience("access"),
			jwt.WithIssuer(os.Getenv("PUBLIC_URL")),
			jwt.WithExpirationRequired(),
		),
		buffer: sync.Pool{New: func() any { return new([]byte) }},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health/live", health)
	mux.HandleFunc("GET /api/v1/items/{id}", s.signedIn(s.read))
	mux.HandleFunc("GET /api/v1/items/{$}", s.signedIn(s.list))
	mux.HandleFunc("POST /api/v1/items/{$}", s.signedIn(s.create))
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), mux))
}
