package engine

import "testing"

func TestMaskURL(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":             "",
		"no url? none": "no url? none",
		`program "curl 'https://h:1/b/k?X-Amz-Signature=abc&x=1'" failed`:                `program "curl 'https://h:1/b/k?***'" failed`,
		"http://a/b?c=d http://e/f HTTP://g/?h":                                          "http://a/b?*** http://e/f HTTP://g/?***",
		"(http://a/b?c=d?e)":                                                             "(http://a/b?***",
		"LOCATION ('s3://h/b/p/ accessid=AK secret=a+/= token=x region=r')":              "LOCATION ('s3://h/b/p/ accessid=*** secret=*** token=*** region=r')",
		`SECRET = abc, Token=y" (tokens=3 secretary=4)`:                                  `SECRET = ***, Token=***" (tokens=3 secretary=4)`,
		`OPTIONS (accessid 'AK', secret 'a+/=', token "x") {"secret": "b", 'token'='c'}`: `OPTIONS (accessid '***', secret '***', token "x") {"secret": "***", 'token'='***'}`,
		"a token of its own, the secret is out, token (x)":                               "a token of its own, the secret is out, token (x)",
		"could not open gpfdist://h:1/0f0f: (gpfdist://[::1]:2/ab, x)":                   "could not open gpfdist://h:1/***: (gpfdist://[::1]:2/***, x)",
	} {
		if got := MaskURL(text); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// TestAccessMask: the credentials themselves are known in any form, but for those that
// are too short to be told from other words.
func TestAccessMask(t *testing.T) {
	t.Parallel()
	a := Access{ID: "AKIA0123456789", Secret: "abc/def+ghi0", Token: "tok"}
	const text = "list of AKIA0123456789, [abc/def+ghi0], tok, secret=abc"
	if got := a.Mask(text); got != "list of ***, [***], tok, secret=***" {
		t.Error(got)
	}
	if got := (Access{}).Mask("abc"); got != "abc" {
		t.Error(got)
	}
}
