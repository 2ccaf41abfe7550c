#include <nettle/base64.h>

#include "base64.h"

/* The value of a character of the standard alphabet, or -1. */
static int
digit_value(unsigned char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static size_t
padding(struct span text)
{
	if (text.n == 0 || text.p[text.n - 1] != '=')
		return 0;
	return text.p[text.n - 2] == '=' ? 2 : 1;
}

bool
base64_is_canonical(struct span text)
{
	size_t i, digits;
	int last;

	if (text.n % 4 != 0)
		return false;
	if (text.n == 0)
		return true;
	digits = text.n - padding(text);
	for (i = 0; i < digits; i++)
		if (digit_value((unsigned char)text.p[i]) == -1)
			return false;
	/* The bits that padding leaves over must be zero. */
	last = digit_value((unsigned char)text.p[digits - 1]);
	if (text.n - digits == 1)
		return (last & 3) == 0;
	if (text.n - digits == 2)
		return (last & 15) == 0;
	return true;
}

size_t
base64_decoded_len(struct span text)
{
	return text.n / 4 * 3 - padding(text);
}

void
base64_encode(struct buf *out, struct span bytes)
{
	char *to = buf_reserve(out, BASE64_ENCODE_RAW_LENGTH(bytes.n));

	if (to == NULL)
		return;
	base64_encode_raw(to, bytes.n, (const uint8_t *)bytes.p);
	out->len += BASE64_ENCODE_RAW_LENGTH(bytes.n);
}

int
base64_decode(struct buf *out, struct span text)
{
	struct base64_decode_ctx ctx;
	size_t len;
	char *to;

	if (!base64_is_canonical(text))
		return -1;
	to = buf_reserve(out, BASE64_DECODE_LENGTH(text.n));
	if (to == NULL)
		return -1;
	base64_decode_init(&ctx);
	if (!base64_decode_update(&ctx, &len, (uint8_t *)to, text.n, text.p) ||
	    !base64_decode_final(&ctx))
		return -1;
	out->len += len;
	return 0;
}

void
base64_encode_url(struct buf *out, struct span bytes)
{
	struct base64_encode_ctx ctx;
	char *to = buf_reserve(out, BASE64_ENCODE_RAW_LENGTH(bytes.n));
	size_t len;

	if (to == NULL)
		return;
	base64url_encode_init(&ctx);
	len = base64_encode_update(&ctx, to, bytes.n, (const uint8_t *)bytes.p);
	len += base64_encode_final(&ctx, to + len);
	while (len > 0 && to[len - 1] == '=')
		len--;
	out->len += len;
}
