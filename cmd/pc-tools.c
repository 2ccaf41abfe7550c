/*
 * pc-tools - every sandbox tool in one file, chosen by the name it is called
 * with, or by its first argument.
 */
#include <string.h>

#include "cli.h"

int pc_drain_main(int argc, char *argv[]);
int pc_enqueue_main(int argc, char *argv[]);
int pc_exec_main(int argc, char *argv[]);
int pc_file_main(int argc, char *argv[]);
int pc_lock_main(int argc, char *argv[]);
int pc_respond_main(int argc, char *argv[]);
int pc_serve_main(int argc, char *argv[]);
int pc_tarsync_main(int argc, char *argv[]);

struct tool {
	const char *name;
	int (*run)(int argc, char *argv[]);
};

static const struct tool tools[] = {
	{ "pc-drain", pc_drain_main },
	{ "pc-enqueue", pc_enqueue_main },
	{ "pc-exec", pc_exec_main },
	{ "pc-file", pc_file_main },
	{ "pc-lock", pc_lock_main },
	{ "pc-respond", pc_respond_main },
	{ "pc-serve", pc_serve_main },
	{ "pc-tarsync", pc_tarsync_main },
};

static const char help[] =
"usage: pc-tools TOOL [ARGUMENT...]\n"
"The sandbox's tools in one file; a link with a tool's name works too.\n"
"  pc-drain    claim pending requests, print them a line each\n"
"  pc-enqueue  one request without HTTP\n"
"  pc-exec     run a program, as JSON says\n"
"  pc-file     single files: write, read, list, remove\n"
"  pc-lock     run a program under a lock\n"
"  pc-respond  publish responses\n"
"  pc-serve    HTTP on loopback in front of the queue\n"
"  pc-tarsync  a workspace in, and its changes back\n";

static const struct tool *
find_tool(const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash != NULL ? slash + 1 : path;
	size_t i;

	for (i = 0; i < sizeof(tools) / sizeof(tools[0]); i++)
		if (strcmp(name, tools[i].name) == 0)
			return &tools[i];
	return NULL;
}

int
main(int argc, char *argv[])
{
	const struct tool *tool = argc > 0 ? find_tool(argv[0]) : NULL;

	if (tool == NULL && argc > 1 && (tool = find_tool(argv[1])) != NULL) {
		argc--;
		argv++;
	}
	if (tool != NULL)
		return tool->run(argc, argv);
	cli_start("pc-tools");
	if (argc > 1 && (strcmp(argv[1], "-h") == 0 ||
	    strcmp(argv[1], "--help") == 0))
		cli_help(help);
	if (argc > 1 && (strcmp(argv[1], "-V") == 0 ||
	    strcmp(argv[1], "--version") == 0))
		cli_version();
	cli_usage("name a tool; see pc-tools --help");
}
