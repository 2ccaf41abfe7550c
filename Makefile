# pc-tools - see README.md.  GNU make.
#
# make            the tools, in bin/
# make static     one static file for the sandbox, bin/static/pc-tools; needs
#                 musl-tools
# make static-aarch64  the same for aarch64, bin/static/pc-tools-aarch64;
#                 needs gcc-aarch64-linux-gnu, and Debian's mirror once
# make install    PREFIX= and DESTDIR= as usual; also uninstall
# make demo       the main job for real; installs what it needs
# make check      lint, all tests, again under sanitizers; installs likewise
# make bench      one table of what it costs, beside peers in the same run;
#                 BENCHFLAGS=--publish puts it into README.md
# make faults     every process killed, every call failed, ROUNDS=500,
#                 40 holders of a lock each time, and whole runs
# make fuzz       every parser, T=30s each, and HTTP against Node's parser
#                 SEED=N: with the numbers that a run with it had
# make interop    against the published peers, in both roles
# make model      the queue in Promela, every order of its steps, and mutants;
#                 7 GB and some minutes, MODEL=--quick under one

VERSION  = 0.1.0
PREFIX   = /usr/local
BINDIR   = $(PREFIX)/bin
# Where pc-run looks for the sandbox's file, seen from the programs.
LIBDIR   = $(PREFIX)/lib/pc-tools
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
SEED     =
ROUNDS   = 500
JOBS     = $(shell nproc)
# libFuzzer counts in seconds.
SECONDS  = $(if $(filter %m,$(T)),$(shell expr $(T:m=) \* 60),$(T:s=))

SANDBOX  = pc-drain pc-enqueue pc-exec pc-file pc-lock pc-respond pc-serve \
	   pc-tarsync
HOST     = pc-allow pc-forward pc-lease pc-run
TOOLS    = $(SANDBOX) $(HOST)
MAN      = $(sort $(wildcard man/*.[157]))

LIBSRC   = $(sort $(wildcard lib/*.c))
# A package is used by one unit: only its tool needs to be linked with it.
LIBS_pc-forward = -lcurl
LIBS_pc-lease = -lsqlite3 -lpq
LIBS_pc-tarsync = -ltar -lz
# What a tool's own file would be too long for.
PARTS_pc-exec = cmd/exec_output.o cmd/exec_probe.o cmd/exec_request.o
PARTS_pc-file = cmd/file_change.o cmd/file_common.o cmd/file_put.o \
	   cmd/file_read.o
PARTS_pc-lease = cmd/lease_args.o cmd/lease_batch.o cmd/lease_env.o \
	   cmd/lease_hold.o cmd/lease_look.o cmd/lease_print.o \
	   cmd/lease_report.o cmd/lease_run.o
PARTS_pc-run = cmd/run_lease.o
PARTS_pc-tarsync = cmd/progress.o cmd/tarsync_common.o cmd/tarsync_pack.o \
	   cmd/tarsync_unpack.o
# Starting is most of what this one does: it loads nothing but libc.
NONETTLE = pc-lock

STD      = -std=c11 $(WARNINGS) -MMD -MP -ffunction-sections
LIBOBJ   = $(LIBSRC:%.c=build/release/%.o)
SANOBJ   = $(LIBSRC:%.c=build/san/%.o)
# What the sandbox has no use for, or has no static form, stays out of that file.
LEASELIB = lib/activity.c lib/environment.c lib/environment_config.c \
	   lib/lease_acquire.c \
	   lib/lease_clean.c lib/lease_ending.c lib/lease_release.c \
	   lib/lease_renew.c lib/lease_row.c lib/lease_schema.c \
	   lib/lease_state.c lib/lease_sweep.c lib/leasing.c lib/problem.c \
	   lib/store.c lib/store_pg.c lib/store_sqlite.c
HOSTLIB  = lib/dispatch.c lib/forward.c lib/interest.c lib/outbound.c \
	   lib/relay.c $(LEASELIB)
MULTI    = $(SANDBOX:%=cmd/%.o) cmd/pc-tools.o cmd/cli.o \
	   $(foreach t,$(SANDBOX),$(PARTS_$(t))) \
	   $(patsubst %.c,%.o,$(filter-out $(HOSTLIB),$(LIBSRC)))
LINKS    = $(SANDBOX:%=bin/static/links/%)

# What is hot is in the libraries and the kernel: -O2 is 45 kB more and no
# faster.  Without -fno-pie and the tables, 40 kB more.  musl has no fortified
# functions; headers of the kernel and of libraries come after its own.
MUSLCC   = musl-gcc
MULTIFLAGS = -Os -g -fstack-protector-strong -fno-pie \
	   -fno-asynchronous-unwind-tables -fno-unwind-tables
MUSLFLAGS = $(MULTIFLAGS) -idirafter /usr/include \
	   -idirafter /usr/include/$(shell $(CC) -dumpmachine)
MULTILD  = -static -no-pie -s -Wl,-z,relro,-z,now,-z,noseparate-code \
	   -Wl,--gc-sections,-Map=$(@F:%=build/%.map)
STATICLIBS = libtar.a libz.a libnettle.a

ARM      = aarch64-linux-gnu
ARMROOT  = build/aarch64/root

all: $(TOOLS:%=bin/%)
san: $(TOOLS:%=build/san/%)
static: bin/static/pc-tools $(LINKS)
static-aarch64: bin/static/pc-tools-aarch64

.SECONDEXPANSION:
bin/%: build/release/cmd/%.o $$(addprefix build/release/,$$(PARTS_$$*)) \
    build/release/cmd/cli.o build/release/libpc.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS_$*) \
	    $(if $(filter $*,$(NONETTLE)),,$(LDLIBS))

build/san/pc-%: build/san/cmd/pc-%.o \
    $$(addprefix build/san/,$$(PARTS_pc-$$*)) \
    build/san/cmd/cli.o build/san/libpc.a
	$(CC) $(SANFLAGS) -o $@ $^ $(LIBS_pc-$*) $(LDLIBS)

bin/static/pc-tools: $(MULTI:%=build/musl/%) \
    $(patsubst %.c,build/musl/%.o,$(sort $(wildcard cmd/static/*.c)))
	@mkdir -p $(@D)
	$(MUSLCC) $(MULTIFLAGS) $(MULTILD) -Wl,--wrap=strerror -o $@ $^ \
	    $(foreach l,$(STATICLIBS),$$($(CC) -print-file-name=$(l)))

# Each tool by its name, to run what expects bin/ with the static file.
bin/static/links/%: bin/static/pc-tools
	@mkdir -p $(@D)
	ln -sf ../pc-tools $@

bin/static/pc-tools-aarch64: $(MULTI:%=build/aarch64/%)
	@mkdir -p $(@D)
	$(ARM)-gcc $(MULTIFLAGS) $(MULTILD) -o $@ $^ \
	    $(STATICLIBS:%=$(ARMROOT)/usr/lib/$(ARM)/%)

# Made anew: ar would keep what a unit that is no more has left in it.
build/release/libpc.a: $(LIBOBJ)
build/san/libpc.a: $(SANOBJ)
build/release/libpc.a build/san/libpc.a build/fuzz/libpc.a:
	rm -f $@
	$(AR) rcs $@ $^

build/release/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(STD) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

build/san/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(STD) $(CPPFLAGS) $(SANFLAGS) -c -o $@ $<

# In one file each tool's main has a name of its own.
main_is  = $(if $(filter $(SANDBOX),$(*F)),-Wno-missing-prototypes \
	   -Dmain=$(subst -,_,$(*F))_main)

build/musl/%.o: %.c Makefile
	@mkdir -p $(@D)
	@command -v $(MUSLCC) >/dev/null || { echo >&2 \
	    "make static: $(MUSLCC) is missing: apt-get install musl-tools"; \
	    exit 1; }
	$(MUSLCC) $(STD) $(CPPFLAGS) $(MUSLFLAGS) $(main_is) -c -o $@ $<

build/aarch64/%.o: %.c Makefile $(ARMROOT)/.complete
	@mkdir -p $(@D)
	$(ARM)-gcc $(STD) $(CPPFLAGS) $(MULTIFLAGS) -D_FORTIFY_SOURCE=2 \
	    -idirafter $(ARMROOT)/usr/include \
	    -idirafter $(ARMROOT)/usr/include/$(ARM) $(main_is) -c -o $@ $<

$(ARMROOT)/.complete: cmd/static/arm64-root.sh
	cmd/static/arm64-root.sh $(ARM)-gcc $(ARMROOT) libtar-dev zlib1g-dev \
	    nettle-dev libjsmn-dev
	@touch $@

FAULTS   = build/faults/at build/faults/step
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

# What the lock's torture runs under the lock; what stops at a system call.
build/faults/%: tests/faults/%.c Makefile
	@mkdir -p $(@D)
	$(CC) $(STD) $(CPPFLAGS) $(CFLAGS) -o $@ $<

# --- tests ------------------------------------------------------------------

UNIT     = build/unit/beneath build/unit/http build/unit/lock \
	   build/unit/race build/unit/target
SANUNIT  = $(UNIT:build/%=build/san/%)
FUZZ     = $(patsubst tests/fuzz/%.c,build/fuzz/%,$(wildcard tests/fuzz/*.c))
FUZZOBJ  = $(LIBSRC:%.c=build/fuzz/%.o)
FUZZFLAGS = -O1 -g -fno-omit-frame-pointer -fno-sanitize-recover=all \
	   -Wno-missing-prototypes -fsanitize=address,undefined,
BATS     = $(sort $(wildcard tests/*.bats)) tests/bench/load.bats
SANOPT   = ASAN_OPTIONS=detect_leaks=0:abort_on_error=0 \
	   UBSAN_OPTIONS=print_stacktrace=1

build/unit/%: tests/unit/%.c build/release/libpc.a
	@mkdir -p $(@D)
	$(CC) $(STD) $(CPPFLAGS) $(CFLAGS) -o $@ $< build/release/libpc.a \
	    $(LDLIBS) -lpthread
build/san/unit/%: tests/unit/%.c build/san/libpc.a
	@mkdir -p $(@D)
	$(CC) $(STD) $(CPPFLAGS) $(SANFLAGS) -o $@ $< build/san/libpc.a \
	    $(LDLIBS) -lpthread
build/fuzz/libpc.a: $(FUZZOBJ)
build/fuzz/lib/%.o: lib/%.c Makefile
	@mkdir -p $(@D)
	clang $(STD) $(CPPFLAGS) $(FUZZFLAGS)fuzzer-no-link -c -o $@ $<
build/fuzz/%: tests/fuzz/%.c build/fuzz/libpc.a
	@mkdir -p $(@D)
	clang $(STD) $(CPPFLAGS) $(FUZZFLAGS)fuzzer -o $@ $< \
	    build/fuzz/libpc.a -Wl,--as-needed -lcurl -lpq -lsqlite3 \
	    -ltar -lz $(LDLIBS)

# Only demo, check and the proofs install anything.
BUILDPKG = gcc libc6-dev libjsmn-dev nettle-dev \
	   libtar-dev zlib1g-dev \
	   'libcurl4-openssl-dev|libcurl4-gnutls-dev|libcurl4-nss-dev' \
	   libsqlite3-dev libpq-dev
DEMOPKG  = $(BUILDPKG) curl iproute2 procps python3 util-linux
CHECKPKG = $(DEMOPKG) bats bsdtar=libarchive-tools bwrap=bubblewrap \
	   busybox-static cppcheck git jq mandoc musl-gcc=musl-tools node=nodejs \
	   openssh-client openssh-server openssl perl podman postgresql runc \
	   script=bsdutils shellcheck strace
BENCHPKG = $(BUILDPKG) curl gnuplot=gnuplot-nox iproute2 musl-gcc=musl-tools \
	   node=nodejs npm=npm openssh-client openssh-server postgresql python3 rsync time util-linux
INTEROPPKG = $(DEMOPKG) bats jq musl-gcc=musl-tools node=nodejs npm=npm
FUZZPKG  = $(BUILDPKG) clang libclang-rt-14-dev node=nodejs

demo:
	@tests/packages.sh $(DEMOPKG)
	@$(MAKE) -s all
	@PATH="$$PWD/bin:$$PATH" tests/demo.sh

# What cppcheck says of functions that initialise, or that do not return,
# when they are in another file.
CPPCHECK_WRONG = missingIncludeSystem ctuuninitvar ctunullpointer

# Warnings are errors here, and nowhere else.
lint:
	$(CC) $(filter-out -MMD -MP,$(STD)) $(CPPFLAGS) -O2 -Werror -fsyntax-only \
	    $(LIBSRC) $(wildcard cmd/*.c)
	cppcheck -q --std=c11 --error-exitcode=1 --inline-suppr \
	    --enable=warning,portability,performance -D_GNU_SOURCE \
	    -DPC_VERSION='""' $(CPPCHECK_WRONG:%=--suppress=%) -Ilib -Icmd \
	    lib cmd
	mandoc -Tlint -Wwarning $(MAN)
	shellcheck -x $(wildcard cmd/static/*.sh tests/*.sh tests/*.bash \
	    tests/*/*.sh) .ci/run

# The second pass runs what is shipped: the sandbox's tools from the one
# static file, the host's from bin/.  Tests wait half of their time, and so
# one file more at once than there are processors.
PROVE    = prove -j$(shell expr $(JOBS) + 1) -f -o -e bats
check:
	tests/packages.sh $(CHECKPKG)
	$(MAKE) -j$(JOBS) all san static $(UNIT) $(SANUNIT) $(BENCH) $(FAULTS)
	$(MAKE) lint
	$(SANOPT) PATH="$$PWD/build/san:$$PATH" $(PROVE) $(BATS)
	PATH="$$PWD/bin:$$PATH" $(PROVE) tests/project.bats
	PATH="$$PWD/bin/static/links:$$PWD/bin:$$PATH" $(PROVE) $(BATS)

bench:
	tests/packages.sh $(BENCHPKG)
	$(MAKE) -s all static $(BENCH)
	PATH="$$PWD/bin:$$PATH" tests/bench/bench.py $(BENCHFLAGS)

faults:
	tests/packages.sh $(CHECKPKG)
	$(MAKE) -s all $(BENCH) $(FAULTS)
	PATH="$$PWD/bin:$$PATH" tests/faults/pipeline.py --rounds $(ROUNDS)
	PATH="$$PWD/bin:$$PATH" tests/faults/pipeline.py --self-test
	$(MAKE) -s static
	PATH="$$PWD/bin:$$PATH" tests/faults/run.py \
	    --rounds $(if $(filter 500,$(ROUNDS)),200,$(ROUNDS))
	PATH="$$PWD/bin:$$PATH" tests/faults/run.py --self-test
	PATH="$$PWD/bin:$$PATH" prove -e bats tests/faults/minute.bats
	PATH="$$PWD/bin:$$PATH" tests/faults/lock.py --rounds $(ROUNDS)
	PATH="$$PWD/bin:$$PATH" tests/faults/lock.py --self-test
	PATH="$$PWD/bin:$$PATH" tests/faults/tools.py \
	    --every $(if $(filter 500,$(ROUNDS)),1,40)
	PATH="$$PWD/bin:$$PATH" tests/faults/tools.py --self-test
	PATH="$$PWD/bin:$$PATH" tests/faults/tarsync.py \
	    --rounds $$((2 * $(ROUNDS)))
	d=$$(mktemp -d) && PATH="$$PWD/bin:$$PATH" tests/merge_cases.py \
	    random "$$d" "$$(date +%s)" $$((4 * $(ROUNDS))); r=$$?; \
	    rm -rf "$$d"; exit $$r

fuzz:
	tests/packages.sh $(FUZZPKG)
	$(MAKE) -s -j$(JOBS) $(FUZZ) build/unit/http_take
	SEED=$(SEED) tests/fuzz/run.sh $(SECONDS) $(JOBS) $(FUZZ)
	node tests/fuzz/http-node.mjs build/unit/http_take $(SECONDS) \
	    $(SEED:%=--seed %) tests/fuzz/seeds/http build/corpus/http

interop:
	tests/packages.sh $(INTEROPPKG)
	$(MAKE) -s all static $(BENCH)
	PATH="$$PWD/bin:$$PATH" prove -e bats tests/interop/*.bats
	@echo "interop: $$(paste -sd ";" build/interop/counts | sed "s/;/; /g")"

model:
	@tests/packages.sh spin gcc libc6-dev
	@tests/model/run.sh $(MODEL)

install: all
	mkdir -p "$(DESTDIR)$(BINDIR)"
	install -m 755 $(TOOLS:%=bin/%) "$(DESTDIR)$(BINDIR)/"
	if [ -e bin/static/pc-tools ]; then \
	    mkdir -p "$(DESTDIR)$(LIBDIR)" && \
	    install -m 755 bin/static/pc-tools "$(DESTDIR)$(LIBDIR)/"; fi
	for m in $(MAN); do d="$(DESTDIR)$(MANDIR)/man$${m##*.}"; \
	    mkdir -p "$$d" && install -m 644 $$m "$$d/" || exit 1; done

uninstall:
	rm -f "$(DESTDIR)$(LIBDIR)/pc-tools"
	for t in $(TOOLS); do rm -f "$(DESTDIR)$(BINDIR)/$$t"; done
	for m in $(MAN); do rm -f \
	    "$(DESTDIR)$(MANDIR)/man$${m##*.}/$${m##*/}"; done

clean:
	rm -rf bin build

-include $(shell find build -name '*.d' 2>/dev/null)

.SECONDARY:
.DELETE_ON_ERROR:
.PHONY: all san static static-aarch64 demo lint check bench faults fuzz interop model install \
    uninstall clean
