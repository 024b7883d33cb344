package oauth

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Kind says what an application may be used for, and so which grants it may use.
type Kind string

const (
	// Personal applications belong to one user and reach that user's own homes only.
	Personal Kind = "personal"
	// Commercial applications reach the homes of whoever consents.
	Commercial Kind = "commercial"
)

// Grant types of RFC 6749, as the grant_type parameter spells them.
const (
	GrantPassword          = "password"
	GrantRefresh           = "refresh_token"
	GrantCode              = "authorization_code"
	GrantClientCredentials = "client_credentials"
)

// grantsOf is the one table of which kind of application may use which grant.
func grantsOf(c Client) (grants []string) {
	switch {
	case c.Kind == Personal:
		return []string{GrantPassword, GrantDevice, GrantRefresh}
	case c.Kind == Commercial && c.Public:
		grants = []string{GrantCode, GrantRefresh}
	case c.Kind == Commercial:
		grants = []string{GrantCode, GrantRefresh, GrantClientCredentials}
	}
	if c.Kind == Commercial && c.Legacy {
		grants = append(grants, GrantImplicit)
	}
	return grants
}

// GrantTypes lists what the token endpoint takes from one kind of application or
// another, sorted.
func GrantTypes() []string {
	all := slices.Concat(
		grantsOf(Client{Kind: Personal}), grantsOf(Client{Kind: Commercial}), grantsOf(Client{Kind: Commercial, Public: true}),
	)
	slices.Sort(all)
	return slices.Compact(all)
}

// Status is how far an application's registration has come.
type Status string

const (
	Active   Status = "active"   // it may be used
	Pending  Status = "pending"  // an operator has yet to decide
	Rejected Status = "rejected" // an operator said no
	Off      Status = "off"      // it was switched off; see Ledger
	Deleted  Status = "deleted"  // its owner has done away with it; only records name it, and what it wasted counts on
)

// Client is a registered application.
type Client struct {
	ID        string // client_id: 32 lower-case hex digits
	Kind      Kind
	Status    Status
	Name      string // chosen by its owner, shown in records; never empty
	OwnerID   int64  // the User it belongs to
	CreatedAt time.Time
	Secrets   []Secret // live ones, the newest first; two at the most, none of a public client
	// OwnerDisabled says that the account of its owner is disabled: a Personal one may
	// not be used then. A store sets it; AddClient does not look at it.
	OwnerDisabled bool

	// The rest is of commercial applications.
	Description  string   // shown to who is asked to consent
	HomePage     string   // URL, or empty
	RedirectURIs []string // registered ones; see ValidRedirectURI
	Scope        Scope    // what it may ask for; Unscoped of a personal application
	Public       bool     // it can keep no secret: it must use PKCE
	RequirePKCE  bool     // it must use PKCE although it has a secret
	RequireScope bool     // it must name the scope that it asks for
	Legacy       bool     // it may use the implicit grant
	Logo         Hash     // of its picture, a PNG; zero if it has none
	Edition      int64    // how often it was edited; an operator approves one edition
	Rejection    string   // why an operator rejected it; given with Store.Decide, may be empty
}

// SecretsMax is how many live secrets an application may have: the old one works
// until the new one is in use everywhere.
const SecretsMax = 2

// Secret is a client_secret as it is stored.
type Secret struct {
	ID         int64 // positive; given by the store
	Hash       Hash
	CreatedAt  time.Time
	LastUsedAt time.Time // to the minute; zero if never
}

const redirectURIMax = 2048 // bytes

// ValidRedirectURI reports whether an application may register uri: an absolute URL in
// ASCII (RFC 3986 section 2; a domain in its form of RFC 5891 section 4.4) without fragment and user information, https, or http to this machine's own
// loopback, or the private scheme of a native application, which holds a dot
// (RFC 8252 section 7).
func ValidRedirectURI(uri string) bool {
	u, err := url.Parse(uri)
	if err != nil || len(uri) > redirectURIMax || !isPrintable(uri) {
		return false
	}
	if !isPrintable(u.Host) || strings.Contains(uri, "#") || u.User != nil || hasDotSegment(u) {
		return false
	}
	switch u.Scheme {
	case "https":
		return u.Host != "" && u.Hostname() != ""
	case "http":
		return isLoopback(u.Hostname())
	default:
		return strings.Contains(u.Scheme, ".") && u.Opaque == ""
	}
}

// isPrintable reports whether s has printable ASCII characters alone, and no space.
func isPrintable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}

func hasDotSegment(u *url.URL) bool {
	segments := strings.Split(u.Path, "/")
	return slices.Contains(segments, "..") || slices.Contains(segments, ".")
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// allowsRedirect reports whether uri is registered: to the letter, but that the port
// of a loopback address is the application's to choose anew each time (RFC 8252
// section 7.3).
func (c Client) allowsRedirect(uri string) bool {
	return slices.ContainsFunc(c.RedirectURIs, func(registered string) bool {
		return uri == registered || sameLoopback(uri, registered)
	})
}

func sameLoopback(uri, registered string) bool {
	if !ValidRedirectURI(uri) {
		return false
	}
	a, err := url.Parse(uri)
	if err != nil {
		return false
	}
	b, err := url.Parse(registered)
	if err != nil || a.Scheme != "http" || b.Scheme != "http" || !isLoopback(b.Hostname()) {
		return false
	}
	return withoutPort(uri, a) == withoutPort(registered, b)
}

// withoutPort is uri to the letter, less its port.
func withoutPort(uri string, u *url.URL) string {
	port := u.Port()
	if port == "" {
		return uri
	}
	return strings.Replace(uri, u.Host, strings.TrimSuffix(u.Host, ":"+port), 1)
}
