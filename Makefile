# pc-tools - see README.md.  GNU make.
#
# make            the tools, in bin/
# make static     one static file for the sandbox, bin/static/pc-tools
# make install    PREFIX= and DESTDIR= as usual; also uninstall
# make demo       the main job for real; installs what it needs
# make check      lint, all tests, again under sanitizers; installs likewise
# make bench      speed, as ratios against peers in the same run
# make faults     kills every process at random moments, many times over
# make fuzz       every parser, T=30s each

VERSION  = 0.1.0
PREFIX   = /usr/local
BINDIR   = $(PREFIX)/bin
MANDIR   = $(PREFIX)/share/man

CC       = cc
CPPFLAGS = -Ilib -Icmd -D_GNU_SOURCE -DPC_VERSION='"$(VERSION)"'
WARNINGS = -Wall -Wextra -Wpedantic -Wshadow -Wconversion \
	   -Wstrict-prototypes -Wmissing-prototypes -Wwrite-strings -Wvla
CFLAGS   = -O2 -g -fstack-protector-strong -D_FORTIFY_SOURCE=2
LDFLAGS  = -Wl,-z,relro,-z,now -Wl,--gc-sections
SANFLAGS = -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined \
	   -fno-sanitize-recover=all
LDLIBS   = -lnettle
T        = 30s

SANDBOX  = pc-drain pc-enqueue pc-respond pc-serve
HOST     = pc-allow pc-forward
TOOLS    = $(SANDBOX) $(HOST)
MAN      = $(sort $(wildcard man/*.[157]))

LIBSRC   = $(sort $(wildcard lib/*.c))
# A package is used by one unit: only its tool needs to be linked with it.
LIBS_pc-forward = -lcurl

STD      = -std=c11 $(WARNINGS) -MMD -MP -ffunction-sections
LIBOBJ   = $(LIBSRC:%.c=build/release/%.o)
SANOBJ   = $(LIBSRC:%.c=build/san/%.o)
# libcurl has no static form: its unit stays out of the sandbox's file.
MULTIOBJ = $(SANDBOX:%=build/multi/cmd/%.o) build/multi/cmd/pc-tools.o \
	   build/release/cmd/cli.o build/release/libpc.a

all: $(TOOLS:%=bin/%)
san: $(TOOLS:%=build/san/%)
static: bin/static/pc-tools

bin/%: build/release/cmd/%.o build/release/cmd/cli.o build/release/libpc.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS_$*) $(LDLIBS)

build/san/pc-%: build/san/cmd/pc-%.o build/san/cmd/cli.o build/san/libpc.a
	$(CC) $(SANFLAGS) -o $@ $^ $(LIBS_pc-$*) $(LDLIBS)

bin/static/pc-tools: $(MULTIOBJ)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(LDFLAGS) -static -s -o $@ $^ $(LDLIBS)

build/release/libpc.a: $(LIBOBJ)
	$(AR) rcs $@ $^
build/san/libpc.a: $(SANOBJ)
	$(AR) rcs $@ $^

build/release/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(STD) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

build/san/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(STD) $(CPPFLAGS) $(SANFLAGS) -c -o $@ $<

# In one file each tool's main has a name of its own.
build/multi/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(STD) $(CPPFLAGS) $(CFLAGS) -Dmain=$(subst -,_,$(*F))_main \
	    -c -o $@ $<
build/multi/cmd/pc-tools.o: cmd/pc-tools.c Makefile
	@mkdir -p $(@D)
	$(CC) $(STD) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

BENCH    = build/bench/api build/bench/limits build/bench/load

# Clients, servers and limits for tests and benchmarks.
build/bench/api: $(addprefix build/release/tests/bench/, \
    api.o api_answer.o message.o)
build/bench/limits: build/release/tests/bench/limits.o
build/bench/load: $(addprefix build/release/tests/bench/, \
    load.o load_plan.o message.o)
$(BENCH): build/release/libpc.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) \
	    $(LDLIBS)

clean:
	rm -rf bin build

-include $(shell find build -name '*.d' 2>/dev/null)

.SECONDARY:
.DELETE_ON_ERROR:
.PHONY: all san static clean
