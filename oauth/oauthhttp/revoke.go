package oauthhttp

import "net/http"

// revoke is the revocation endpoint (RFC 7009). Its answer is the same whether there
// was something to revoke or not.
func (h *Handler) revoke(w http.ResponseWriter, r *http.Request) (any, error) {
	req, refusal := parseClientRequest(w, r)
	if refusal != nil {
		return nil, h.refuse(refusal)
	}
	req.Address = h.address(r)
	return nil, h.service.Revoke(r.Context(), req)
}
