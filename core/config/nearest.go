package config

import "strings"

// nearest returns the candidate that a misspelt word most likely means: one within a third of its letters, at least 1.
func nearest(word string, candidates []string) (string, bool) {
	fold := strings.NewReplacer("_", "", "-", "", ".", "").Replace
	word = fold(strings.ToLower(word))
	if len(word) > 64 {
		return "", false
	}
	best, at := "", max(1, len(word)/3)+1
	for _, c := range candidates {
		if d := distance(word, fold(strings.ToLower(c))); d < at {
			best, at = c, d
		}
	}
	return best, best != ""
}

// didYouMean returns "; did you mean X?", or what there is where nothing is near.
func didYouMean(word string, candidates []string) string {
	if best, ok := nearest(word, candidates); ok {
		return "; did you mean " + best + "?"
	}
	if len(candidates) == 0 {
		return "; there is none"
	}
	return "; there are: " + strings.Join(candidates, ", ")
}

// distance counts the letters to insert, delete, change or swap with their neighbour to make b of a (optimal string alignment).
func distance(a, b string) int {
	before, last, row := []int(nil), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := last[j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			row[j] = min(last[j]+1, row[j-1]+1, change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, make([]int, len(b)+1)
	}
	return last[len(b)]
}
