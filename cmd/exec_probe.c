/* pc-exec --probe: what there is in a sandbox. */
#include <sys/auxv.h>
#include <sys/vfs.h>

#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "exec.h"
#include "execdir.h"
#include "io.h"
#include "sha256.h"

/* The folder of a tmpfs that we may write to, where a publish is cheapest. */
static const char *
find_tmpfs(void)
{
	static const char *const usual[] = { "/dev/shm", "/run", "/tmp" };
	struct statfs fs;
	size_t i;

	for (i = 0; i < sizeof(usual) / sizeof(usual[0]); i++)
		if (statfs(usual[i], &fs) == 0 && fs.f_type == TMPFS_MAGIC &&
		    access(usual[i], W_OK | X_OK) == 0)
			return usual[i];
	return NULL;
}

/* Of this very program, so that a caller knows whether it is the right one. */
static void
put_own_sum(struct buf *out)
{
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	uint8_t sum[SHA256_SIZE];
	char hex[SHA256_HEX_SIZE];

	/* Without /proc, the name that we were executed by. */
	if (fd == -1)
		fd = open((const char *)getauxval(AT_EXECFN),
		    O_RDONLY | O_CLOEXEC);
	if (fd != -1 && sha256_fd(fd, sum) == 0) {
		sha256_hex(sum, hex);
		json_put_member(out, "sha256", hex);
	} else {
		json_put_member(out, "sha256", NULL);
	}
	io_close(fd);
}

/* A folder of our own there, or NULL. */
static char *
make_scratch(const char *tmpfs, const char *name)
{
	char *path;
	int fd;

	if (tmpfs == NULL || name == NULL ||
	    asprintf(&path, "%s/%s", tmpfs, name) == -1)
		return NULL;
	if ((fd = execdir_open(path, true)) != -1) {
		close(fd);
		return path;
	}
	free(path);
	return NULL;
}

int
exec_probe(const struct options *o)
{
	const char *tmpfs = find_tmpfs();
	char *cwd = getcwd(NULL, 0), *scratch = make_scratch(tmpfs, o->scratch);
	struct buf out = { 0 };

	buf_add_char(&out, '{');
	json_put_member(&out, "version", PC_VERSION);
	put_own_sum(&out);
	json_put_member(&out, "cwd", cwd);
	json_put_member(&out, "home", getenv("HOME"));
	json_put_member(&out, "tmpfs", tmpfs);
	json_put_member(&out, "scratch", scratch);
	buf_add_str(&out, "}\n");
	cli_out_buf(&out);
	buf_free(&out);
	free(cwd);
	free(scratch);
	return EXIT_YES;
}
