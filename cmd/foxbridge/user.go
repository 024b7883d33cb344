package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/app"
	"github.com/foxbridge/foxbridge/cmd/foxbridge/internal/config"
	"github.com/foxbridge/foxbridge/oauth"
)

// user is a person as the commands print one.
type user struct {
	ID        int64     `json:"id"`
	Email     string    `json:"email"`
	Name      string    `json:"name"`
	CreatedAt time.Time `json:"created_at"`
	Operator  bool      `json:"operator"`
	Disabled  bool      `json:"disabled,omitempty"`
	Password  string    `json:"password,omitempty"` // only of a new one, and only if it was made up
}

func userOf(u oauth.User) user {
	return user{ID: u.ID, Email: u.Email, Name: u.Name, CreatedAt: u.CreatedAt, Operator: u.Operator, Disabled: !u.DisabledAt.IsZero()}
}

func userAddCommand(p process) *cobra.Command {
	var out printer
	var name string
	var given passwordFlags
	c := &cobra.Command{
		Use:   "add EMAIL [--name NAME]",
		Short: "Add a person; without a given password one is made up and printed, this once",
		Args:  cobra.ExactArgs(1),
	}
	c.Flags().StringVar(&name, "name", "", "How the person is called in the history of a home. Without it as the address is before its @.")
	given.define(c)
	recordFlags(c.Flags())
	out.flag(c.Flags())
	c.RunE = administer(p, func(c *cobra.Command, args []string, r *app.Record) error {
		password, madeUp, err := given.password(p.stdin)
		if err != nil {
			return err
		}
		if !c.Flags().Changed("name") {
			name, _, _ = strings.Cut(args[0], "@")
		}
		added, err := r.OAuth.AddUser(c.Context(), args[0], name, password)
		if errors.Is(err, oauth.ErrExists) {
			return fmt.Errorf("%w: there is an account with this address already", err)
		}
		if err != nil {
			return err
		}
		u := userOf(added)
		u.Password = madeUp
		return out.print(p.stdout, u, func(w io.Writer) {
			fmt.Fprintf(w, "id\t%d\nemail\t%s\nname\t%s\n", u.ID, u.Email, u.Name)
			if madeUp != "" {
				fmt.Fprintf(w, "password\t%s\n\nThe password cannot be shown again.\n", madeUp)
			}
		})
	})
	return c
}

// passwordFlags are how an administrator gives a person's password.
type passwordFlags struct {
	file  string
	stdin bool
}

func (f *passwordFlags) define(c *cobra.Command) {
	c.Flags().StringVar(&f.file, "password-file", "", "`file` that holds the password.")
	c.Flags().BoolVar(&f.stdin, "password-stdin", false, "Read the password from standard input, one line.")
	c.MarkFlagsMutuallyExclusive("password-file", "password-stdin")
}

// password gives the one that is meant. If none is given it is made up, and is then
// madeUp as well.
func (f *passwordFlags) password(stdin io.Reader) (password, madeUp string, err error) {
	switch {
	case f.file != "":
		password, err = config.ReadSecret(f.file)
	case f.stdin:
		password, err = bufio.NewReader(io.LimitReader(stdin, 4096)).ReadString('\n')
		if errors.Is(err, io.EOF) {
			err = nil // a last line without its newline
		}
		password = strings.TrimRight(password, "\r\n")
	default:
		madeUp = rand.Text()
		return madeUp, madeUp, nil
	}
	if err != nil {
		return "", "", fmt.Errorf("read password: %w", err)
	}
	if password == "" {
		return "", "", errors.New("the password given is empty")
	}
	return password, "", nil
}

func userListCommand(p process) *cobra.Command {
	var out printer
	c := &cobra.Command{Use: "list", Short: "List people", Args: cobra.NoArgs}
	recordFlags(c.Flags())
	out.flag(c.Flags())
	c.RunE = inspect(p, func(c *cobra.Command, _ []string, r *app.Record) error {
		var users []user
		err := eachUser(c.Context(), r, func(u oauth.User) error {
			users = append(users, userOf(u))
			return nil
		})
		if err != nil {
			return err
		}
		return list(&out, p.stdout, users, "ID\tEMAIL\tNAME\tOPERATOR\tCREATED", func(u user) string {
			return fmt.Sprintf("%d\t%s\t%s\t%t\t%s", u.ID, u.Email, u.Name, u.Operator, u.CreatedAt.Format(time.RFC3339))
		})
	})
	return c
}

func eachUser(ctx context.Context, r *app.Record, each func(oauth.User) error) error {
	return pages(func(last *oauth.User) ([]oauth.User, error) {
		if last == nil {
			return r.OAuth.Users(ctx, 0, pageSize)
		}
		return r.OAuth.Users(ctx, last.ID, pageSize)
	}, each)
}

// factors are a person's second factors as the command prints them.
type factors struct {
	Email         string    `json:"email"`
	TOTP          bool      `json:"totp"` // an authenticator app
	Passkeys      []passkey `json:"passkeys"`
	RecoveryCodes int       `json:"recovery_codes"` // that are left
	Removed       int       `json:"removed"`        // by this command
}

type passkey struct {
	Name       string     `json:"name"`
	CreatedAt  time.Time  `json:"created_at"`
	LastUsedAt *time.Time `json:"last_used_at,omitempty"` // nil: never
}

func factorsOf(u oauth.User, f oauth.Factors) factors {
	out := factors{Email: u.Email, TOTP: f.TOTP != nil, RecoveryCodes: f.RecoveryCodes, Passkeys: []passkey{}}
	for _, p := range f.Passkeys {
		told := passkey{Name: p.Name, CreatedAt: p.CreatedAt}
		if !p.LastUsedAt.IsZero() {
			told.LastUsedAt = &p.LastUsedAt
		}
		out.Passkeys = append(out.Passkeys, told)
	}
	return out
}

func userFactorsCommand(p process) *cobra.Command {
	var out printer
	var remove bool
	c := &cobra.Command{
		Use:   "factors EMAIL [--remove]",
		Short: "Tell the second factors of a person, or remove them",
		Long: `Tell the second factors of a person. With --remove all are removed, with the recovery codes, for a
person who has lost everything: the password alone signs in then. Make sure who asks for it. The
removal is in the person's record of changes.`,
		Args: cobra.ExactArgs(1),
	}
	c.Flags().BoolVar(&remove, "remove", false, "Remove all of them.")
	recordFlags(c.Flags())
	out.flag(c.Flags())
	c.RunE = inspect(p, func(c *cobra.Command, args []string, r *app.Record) error {
		u, err := r.OAuth.UserByEmail(c.Context(), args[0])
		if err != nil {
			return err
		}
		removed := 0
		if remove {
			if removed, err = r.OAuth.RemoveFactors(c.Context(), u.ID); err != nil {
				return err
			}
		}
		found, err := r.OAuth.Factors(c.Context(), u.ID)
		if err != nil {
			return err
		}
		told := factorsOf(u, found)
		told.Removed = removed
		return out.print(p.stdout, told, func(w io.Writer) { printFactors(w, told) })
	})
	return c
}

func printFactors(w io.Writer, f factors) {
	app := "no"
	if f.TOTP {
		app = "yes"
	}
	fmt.Fprintf(w, "email\t%s\nauthenticator app\t%s\n", f.Email, app)
	for _, p := range f.Passkeys {
		used := "never used"
		if p.LastUsedAt != nil {
			used = "last used " + p.LastUsedAt.Format(time.RFC3339)
		}
		fmt.Fprintf(w, "passkey\t%s, %s\n", p.Name, used)
	}
	fmt.Fprintf(w, "recovery codes left\t%d\n", f.RecoveryCodes)
	if f.Removed > 0 {
		fmt.Fprintf(w, "removed\t%d\n", f.Removed)
	}
}
