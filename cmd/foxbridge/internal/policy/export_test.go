package policy

import "unsafe"

// Size is what a Window holds, in bytes.
func (w *Window) Size() int { return cap(w.marks) * int(unsafe.Sizeof(mark{})) }
