/*
 * strerror.c - glibc's words for errors where musl's are others, so that a
 * message is the same from either build.  Linked with --wrap=strerror.
 */
#include <errno.h>
#include <stddef.h>

char *__real_strerror(int error);
char *__wrap_strerror(int error);

static const struct {
	int error;
	const char *text;
} words[] = {
	{ EADDRINUSE, "Address already in use" },
	{ EADDRNOTAVAIL, "Cannot assign requested address" },
	{ EBUSY, "Device or resource busy" },
	{ ECHILD, "No child processes" },
	{ ECONNABORTED, "Software caused connection abort" },
	{ EDEADLK, "Resource deadlock avoided" },
	{ EDQUOT, "Disk quota exceeded" },
	{ EHOSTUNREACH, "No route to host" },
	{ EILSEQ, "Invalid or incomplete multibyte or wide character" },
	{ EIO, "Input/output error" },
	{ ELOOP, "Too many levels of symbolic links" },
	{ EMFILE, "Too many open files" },
	{ EMSGSIZE, "Message too long" },
	{ ENAMETOOLONG, "File name too long" },
	{ ENETUNREACH, "Network is unreachable" },
	{ ENOMEM, "Cannot allocate memory" },
	{ ENOTCONN, "Transport endpoint is not connected" },
	{ ENOTSOCK, "Socket operation on non-socket" },
	{ ENOTTY, "Inappropriate ioctl for device" },
	{ EOPNOTSUPP, "Operation not supported" },
	{ EOVERFLOW, "Value too large for defined data type" },
	{ ESPIPE, "Illegal seek" },
	{ ETIMEDOUT, "Connection timed out" },
	{ EUCLEAN, "Structure needs cleaning" },
	{ EXDEV, "Invalid cross-device link" },
};

char *
__wrap_strerror(int error)
{
	size_t i;

	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (words[i].error == error)
			return (char *)words[i].text;
	return __real_strerror(error);
}
