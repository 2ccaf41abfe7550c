#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "program.h"

#define USUAL_PATH \
	"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* A file that may be executed; else -1 with errno. */
static int
is_executable(const char *file)
{
	struct stat st;

	if (stat(file, &st) == -1)
		return -1;
	if (!S_ISREG(st.st_mode)) {
		errno = EACCES;
		return -1;
	}
	return access(file, X_OK);
}

static enum program_result
take_file(const char *file, char **out)
{
	if (is_executable(file) == -1)
		return errno == EACCES ? PROGRAM_DENIED : PROGRAM_NONE;
	if ((*out = strdup(file)) == NULL)
		return PROGRAM_FAILED;
	return PROGRAM_FOUND;
}

enum program_result
program_look_up(const char *name, const char *path, char **file)
{
	enum program_result result = PROGRAM_NONE, one;
	const char *end;
	char *tried;
	size_t n;

	if (strchr(name, '/') != NULL)
		return take_file(name, file);
	for (path = path != NULL ? path : USUAL_PATH;; path = end + 1) {
		n = strcspn(path, ":");
		end = path + n;
		/* An empty part of PATH is the working folder (POSIX 8.3). */
		if (asprintf(&tried, "%.*s/%s", n > 0 ? (int)n : 1,
		    n > 0 ? path : ".", name) == -1)
			return PROGRAM_FAILED;
		one = take_file(tried, file);
		free(tried);
		if (one == PROGRAM_FOUND || one == PROGRAM_FAILED)
			return one;
		if (one == PROGRAM_DENIED)
			result = one;
		if (*end == '\0')
			return result;
	}
}

static const char *
env_value(char *const *env, const char *name)
{
	size_t n = strlen(name);

	for (; *env != NULL; env++)
		if (strncmp(*env, name, n) == 0 && (*env)[n] == '=')
			return *env + n + 1;
	return NULL;
}

/* Sets a pair in an environment that has room for one more. */
static void
env_set(char **env, char *pair)
{
	size_t n = strcspn(pair, "=") + 1;

	for (; *env != NULL; env++)
		if (strncmp(*env, pair, n) == 0)
			break;
	if (*env == NULL)
		env[1] = NULL;
	*env = pair;
}

static int
make_env(struct program *p, const struct command *c, char *mark)
{
	size_t n = 0, i;

	while (environ[n] != NULL)
		n++;
	p->env = calloc(n + c->env.n + 3, sizeof(*p->env));
	if (p->env == NULL)
		return -1;
	memcpy(p->env, environ, n * sizeof(*p->env));
	for (i = 0; i < c->env.n; i++)
		env_set(p->env, c->env.v[i]);
	if (mark != NULL)
		env_set(p->env, mark);
	return 0;
}

/* bash -lc LINE, with its name as the user's shell; else sh -c LINE. */
static enum program_result
find_shell(struct program *p, const struct command *c)
{
	static char bash_name[] = "bash", sh_name[] = "sh";
	static char login[] = "-lc", plain[] = "-c";
	static char shell[] = "SHELL=/bin/bash";
	const char *path = env_value(p->env, "PATH");
	enum program_result found;
	bool bash = true;

	found = program_look_up("/bin/bash", NULL, &p->file);
	if (found != PROGRAM_FOUND && found != PROGRAM_FAILED) {
		bash = false;
		found = program_look_up("sh", path, &p->file);
	}
	if (found != PROGRAM_FOUND && found != PROGRAM_FAILED)
		found = program_look_up("/bin/sh", NULL, &p->file);
	if (found != PROGRAM_FOUND)
		return found == PROGRAM_FAILED ? found : PROGRAM_NO_SHELL;
	if ((p->argv = calloc(4, sizeof(*p->argv))) == NULL)
		return PROGRAM_FAILED;
	p->argv[0] = bash ? bash_name : sh_name;
	p->argv[1] = bash ? login : plain;
	p->argv[2] = c->argv.line;
	if (bash)
		env_set(p->env, shell);
	return PROGRAM_FOUND;
}

enum program_result
program_find(struct program *p, const struct command *c, char *mark)
{
	*p = (struct program){ .file = NULL };
	if (make_env(p, c, mark) == -1)
		return PROGRAM_FAILED;
	if (c->argv.line != NULL)
		return find_shell(p, c);
	p->argv = calloc(c->argv.argv.n + 1, sizeof(*p->argv));
	if (p->argv == NULL)
		return PROGRAM_FAILED;
	memcpy(p->argv, c->argv.argv.v, c->argv.argv.n * sizeof(*p->argv));
	return program_look_up(p->argv[0], env_value(p->env, "PATH"),
	    &p->file);
}

void
program_free(struct program *p)
{
	free(p->file);
	free(p->argv);
	free(p->env);
}
