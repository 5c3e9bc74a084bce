# The main job in a container: every method on the shipped zoo; the ranked page is site/index.html in the volume.
#   docker build -t mergebench . && docker run --rm -v "$PWD/runs:/runs" mergebench
#   docker run --rm mergebench list methods
FROM python:3.11-slim

WORKDIR /src
COPY . .
# torch and torchvision are resolved by one pip call: built apart they do not import together.
RUN pip install --no-cache-dir .

WORKDIR /work
ENV MERGEBENCH_CACHE=/tmp/mergebench
VOLUME /runs
ENTRYPOINT ["mergebench"]
CMD ["run", "--methods", "all", "--out", "/runs"]
