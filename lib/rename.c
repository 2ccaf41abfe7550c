#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "rename.h"

/* Of <linux/fs.h>; musl's headers have neither these nor the function. */
#define NOREPLACE	1
#define EXCHANGE	2

static int
rename_flags(int from, const char *old, int to, const char *new, int flags)
{
	if (syscall(SYS_renameat2, from, old, to, new, flags) == 0)
		return 0;
	/* EINVAL, too: a folder moved into itself finds out by other means. */
	if (errno == EINVAL)
		errno = ENOSYS;
	return -1;
}

int
rename_noreplace(int from, const char *old, int to, const char *new)
{
	return rename_flags(from, old, to, new, NOREPLACE);
}

int
rename_exchange(int from, const char *old, int to, const char *new)
{
	return rename_flags(from, old, to, new, EXCHANGE);
}

int
rename_noreplace_by_steps(int from, const char *old, int to, const char *new)
{
	struct stat st;
	int saved;

	if (fstatat(from, old, &st, AT_SYMLINK_NOFOLLOW) == -1)
		return -1;
	if (!S_ISDIR(st.st_mode))
		return linkat(from, old, to, new, 0) == -1 ? -1 :
		    unlinkat(from, old, 0);
	if (mkdirat(to, new, 0700) == -1)
		return -1;
	if (renameat(from, old, to, new) == 0)
		return 0;
	saved = errno;
	unlinkat(to, new, AT_REMOVEDIR);
	errno = saved;
	return -1;
}

int
rename_noreplace_anyhow(int from, const char *old, int to, const char *new)
{
	if (rename_noreplace(from, old, to, new) == 0)
		return 0;
	return errno != ENOSYS ? -1 :
	    rename_noreplace_by_steps(from, old, to, new);
}
