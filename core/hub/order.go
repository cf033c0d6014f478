package hub

import "time"

// stamp (design §4 step 6) gives the next accepted event its place: a sequence number without gaps, and the hub's time in milliseconds, strictly
// growing within the room even where the clock stands still or goes back (mimi-protocol-06 §5.4). Both are durable with the unit.
func (r *Row) stamp(now time.Time) {
	r.Sequence++
	r.Accepted = max(r.Accepted+1, uint64(max(0, now.UnixMilli())))
}
