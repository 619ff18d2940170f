package sealed

// SealUnchecked seals any text with any URL, as a proxy gone wrong could.
func SealUnchecked(key []byte, text, url string) (string, error) {
	s, err := NewSealer(key)
	if err != nil {
		return "", err
	}
	m, err := s.seal(text, url)
	return m.args(), err
}
