package oauthhttp

import "net/http"

// revoked is the body of a revocation: an empty object. RFC 7009 section 2.2 lets
// clients ignore it, but some read JSON out of every answer.
type revoked struct{}

// revoke is the revocation endpoint (RFC 7009). Its answer is the same whether there
// was something to revoke or not.
func (h *Handler) revoke(w http.ResponseWriter, r *http.Request) (any, error) {
	req, refusal := parseClientRequest(w, r)
	if refusal != nil {
		return nil, h.refuse(refusal)
	}
	req.Address = h.address(r)
	if err := h.service.Revoke(r.Context(), req); err != nil {
		return nil, err
	}
	return revoked{}, nil
}
