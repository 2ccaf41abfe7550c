/*
 * shim.c - what Debian's libtar.a, libz.a and libnettle.a, built for glibc,
 * ask of a C library that is musl.  Only in bin/static/pc-tools, which links
 * them with musl; our own objects need none of it.
 *
 * With _FORTIFY_SOURCE glibc's headers turn printf(3) and its like into
 * functions that know the size of the buffer:
 *
 *	__fprintf_chk	nettle, when NETTLE_FAT_VERBOSE is set
 *	__snprintf_chk	libtar's int_to_oct
 *	__printf_chk __sprintf_chk __vsnprintf_chk
 *			other members of these, should they come in
 *
 * A buffer that would overflow ends the program, as with glibc.
 *
 * libtar may also ask for users and groups by name, which would bring in the
 * reading of /etc/passwd, and a connection to nscd.  There are none in a
 * sandbox; our archives carry numbers.
 *
 * nettle chooses by CPU among all its ciphers at once, and so brings in AES,
 * SHA-1 and more, 24 kB, for the sake of SHA-256.  What is never called here
 * is a name that ends the program.
 */
#include <grp.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* No header of musl's declares these. */
int __fprintf_chk(FILE *f, int flag, const char *format, ...);
int __printf_chk(int flag, const char *format, ...);
int __sprintf_chk(char *s, int flag, size_t size, const char *format, ...);
int __snprintf_chk(char *s, size_t n, int flag, size_t size,
    const char *format, ...);
int __vsnprintf_chk(char *s, size_t n, int flag, size_t size,
    const char *format, va_list ap);

int
__fprintf_chk(FILE *f, int flag, const char *format, ...)
{
	va_list ap;
	int n;

	(void)flag;
	va_start(ap, format);
	n = vfprintf(f, format, ap);
	va_end(ap);
	return n;
}

int
__printf_chk(int flag, const char *format, ...)
{
	va_list ap;
	int n;

	(void)flag;
	va_start(ap, format);
	n = vprintf(format, ap);
	va_end(ap);
	return n;
}

int
__vsnprintf_chk(char *s, size_t n, int flag, size_t size, const char *format,
    va_list ap)
{
	(void)flag;
	if (n > size)
		abort();
	return vsnprintf(s, n, format, ap);
}

int
__snprintf_chk(char *s, size_t n, int flag, size_t size, const char *format,
    ...)
{
	va_list ap;
	int got;

	va_start(ap, format);
	got = __vsnprintf_chk(s, n, flag, size, format, ap);
	va_end(ap);
	return got;
}

int
__sprintf_chk(char *s, int flag, size_t size, const char *format, ...)
{
	va_list ap;
	int n;

	(void)flag;
	va_start(ap, format);
	/* musl refuses sizes over INT_MAX, which stand for unknown. */
	n = vsnprintf(s, size > 0x7fffffff ? 0x7fffffff : size, format, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= size)
		abort();
	return n;
}

struct passwd *
getpwnam(const char *name)
{
	(void)name;
	return NULL;
}

struct passwd *
getpwuid(uid_t uid)
{
	(void)uid;
	return NULL;
}

struct group *
getgrnam(const char *name)
{
	(void)name;
	return NULL;
}

struct group *
getgrgid(gid_t gid)
{
	(void)gid;
	return NULL;
}

#ifdef __x86_64__
#define NEVER_CALLED(name) \
	_Noreturn void name(void); \
	_Noreturn void name(void) { abort(); }

NEVER_CALLED(_nettle_aes128_decrypt_aesni)
NEVER_CALLED(_nettle_aes128_decrypt_c)
NEVER_CALLED(_nettle_aes128_encrypt_aesni)
NEVER_CALLED(_nettle_aes128_encrypt_c)
NEVER_CALLED(_nettle_aes192_decrypt_aesni)
NEVER_CALLED(_nettle_aes192_decrypt_c)
NEVER_CALLED(_nettle_aes192_encrypt_aesni)
NEVER_CALLED(_nettle_aes192_encrypt_c)
NEVER_CALLED(_nettle_aes256_decrypt_aesni)
NEVER_CALLED(_nettle_aes256_decrypt_c)
NEVER_CALLED(_nettle_aes256_encrypt_aesni)
NEVER_CALLED(_nettle_aes256_encrypt_c)
NEVER_CALLED(_nettle_cbc_aes128_encrypt_aesni)
NEVER_CALLED(_nettle_cbc_aes128_encrypt_c)
NEVER_CALLED(_nettle_cbc_aes192_encrypt_aesni)
NEVER_CALLED(_nettle_cbc_aes192_encrypt_c)
NEVER_CALLED(_nettle_cbc_aes256_encrypt_aesni)
NEVER_CALLED(_nettle_cbc_aes256_encrypt_c)
NEVER_CALLED(_nettle_ghash_set_key_c)
NEVER_CALLED(_nettle_ghash_set_key_pclmul)
NEVER_CALLED(_nettle_ghash_update_pclmul)
NEVER_CALLED(_nettle_ghash_update_table)
NEVER_CALLED(_nettle_memxor_sse2)
NEVER_CALLED(_nettle_memxor_x86_64)
NEVER_CALLED(_nettle_sha1_compress_sha_ni)
NEVER_CALLED(_nettle_sha1_compress_x86_64)
#endif
