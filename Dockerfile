# The app: the web chat, its API, and every other command of codeqa. No models and no secrets.
#   docker build --tag codeqa .
#   docker run --publish 127.0.0.1:7860:7860 --volume codeqa:/data codeqa \
#       chat https://github.com/mosaicml/composer --index /data/index --host 0.0.0.0 --no-browser
FROM python:3.11-slim

RUN apt-get update \
    && apt-get install --yes --no-install-recommends git openssh-client \
    && rm -rf /var/lib/apt/lists/*

# Point it at PyTorch's wheels for processors, or gigabytes of CUDA libraries come along; with these,
# requirements-cpu.lock installs every package at a version, and by a hash, that was tested:
#   docker build --build-arg PIP_EXTRA_INDEX_URL=… --build-arg REQUIREMENTS=requirements-cpu.lock --tag codeqa .
ARG PIP_EXTRA_INDEX_URL
ARG REQUIREMENTS=requirements-cpu.txt
WORKDIR /opt/codeqa
COPY requirements-cpu.txt requirements-cpu.lock requirements-no-deps.txt ./
RUN pip install --no-cache-dir -r ${REQUIREMENTS} \
    && pip install --no-cache-dir --no-deps -r requirements-no-deps.txt
COPY . .
RUN pip install --no-cache-dir --no-deps --no-build-isolation -e . \
    && useradd --uid 1000 --create-home codeqa \
    && install --directory --owner codeqa /data

USER codeqa
# Conversations, clones and indexes: all that is to be kept.
ENV XDG_DATA_HOME=/data CODEQA_CACHE=/data/cache PYTHONUNBUFFERED=1
VOLUME /data
EXPOSE 7860
ENTRYPOINT ["codeqa"]
CMD ["chat", "--index", "/data/index", "--host", "0.0.0.0", "--no-browser"]
