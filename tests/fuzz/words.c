/*
 * Small things that people, and files of others, write: numbers, durations,
 * sizes, ids, sums, URLs, addresses, paths.  What is taken and printed is
 * taken again as the same.
 */
#include <inttypes.h>
#include <stdio.h>

#include "apiurl.h"
#include "beneath.h"
#include "fuzz.h"
#include "id.h"
#include "sha256.h"
#include "tar_pax.h"
#include "target.h"
#include "units.h"

static void
check_units(const char *s)
{
	uint64_t n = 7, again;
	int64_t ms = 7, ms_again;
	char text[32];

	if (units_parse_number(s, UINT64_MAX, &n) == 0) {
		snprintf(text, sizeof(text), "%" PRIu64, n);
		check(strcmp(text, s + strspn(s, "0") -
		    (n == 0)) == 0);
		check(units_parse_number(s, n, &again) == 0 && again == n);
		check(n == 0 || units_parse_number(s, n - 1, &again) == -1);
	} else {
		check(n == 7);
	}
	if (units_parse_duration(s, &ms) == 0) {
		check(ms >= 0 && ms <= 10LL * 365 * 24 * 3600 * 1000);
		snprintf(text, sizeof(text), "%" PRId64 "ms", ms);
		check(units_parse_duration(text, &ms_again) == 0 &&
		    ms_again == ms);
	} else {
		check(ms == 7);
	}
	n = 7;
	if (units_parse_size(s, &n) == 0) {
		snprintf(text, sizeof(text), "%" PRIu64, n);
		check(units_parse_size(text, &again) == 0 && again == n);
	} else {
		check(n == 7);
	}
}

static void
check_url(struct span s)
{
	struct apiurl u, again;
	struct buf text = { 0 };
	size_t i;

	if (apiurl_parse(&u, s) != NULL)
		return;
	check((u.origin.n == 0) != (u.socket.n == 0));
	check(u.socket.n < 108);
	check(u.path.n == 0 || (u.path.p[0] == '/' &&
	    u.path.p[u.path.n - 1] != '/' &&
	    target_check_path(u.path) == NULL));
	/* Bytes that would end a line, or be somebody's name and password. */
	for (i = 0; i < u.origin.n; i++)
		check(u.origin.p[i] > ' ' && u.origin.p[i] <= '~' &&
		    strchr("@\\?#", u.origin.p[i]) == NULL);
	if (u.socket.n > 0)
		buf_add_str(&text, "unix:");
	buf_add_span(&text, u.origin);
	buf_add_span(&text, u.socket);
	if (u.socket.n > 0 && u.path.n > 0)
		buf_add_char(&text, ':');
	buf_add_span(&text, u.path);
	check(apiurl_parse(&again, buf_span(&text)) == NULL);
	check(span_equal(u.origin, again.origin) &&
	    span_equal(u.socket, again.socket) &&
	    span_equal(u.path, again.path));
	buf_free(&text);
}

static void
check_path(struct span s)
{
	struct span parent = path_parent(s), name = path_name(s);

	if (path_check(s, 4096, 64) != PATH_OK)
		return;
	check(s.n > 0 && s.n <= 4096 && s.p[0] != '/');
	check(memchr(s.p, '\0', s.n) == NULL);
	check(name.n > 0 && name.n <= 255 && memchr(name.p, '/', name.n) ==
	    NULL && !span_is(name, ".") && !span_is(name, ".."));
	check(parent.n == 0 ? name.n == s.n :
	    parent.n + 1 + name.n == s.n && path_is_below(s, parent) &&
	    path_compare(parent, s) < 0 &&
	    path_check(parent, 4096, 64) == PATH_OK);
}

static void
check_names(struct span s)
{
	uint8_t sum[SHA256_SIZE], again[SHA256_SIZE];
	char hex[SHA256_HEX_SIZE];
	uint64_t n;
	size_t i;

	if (id_is_valid(s))
		for (i = 0; i < s.n; i++)
			check(i < ID_MAX && s.p[i] != '.' && s.p[i] != '/' &&
			    s.p[i] > ' ' && s.p[i] <= '~');
	if (s.n < 4096)
		(void)id_is_from_gateway(s);
	if (sha256_from_hex(s, sum) == 0) {
		sha256_hex(sum, hex);
		check(s.n == strlen(hex));
		check(sha256_from_hex(span_of(hex), again) == 0);
		check(memcmp(sum, again, sizeof(sum)) == 0);
	}
	if (tar_decimal(s, &n) == 0)
		check(n <= INT64_MAX && s.n > 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct span s = fuzz_block(data, len);
	char *text = strndup((const char *)s.p, len);

	check(text != NULL);
	check_units(text);
	check_url(s);
	check_path(s);
	check_names(s);
	free(text);
	free((char *)s.p);
	return 0;
}
