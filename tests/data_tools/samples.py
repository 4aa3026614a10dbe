"""A small file in each language that has a grammar, and the names that its lines are to have.

This file is long because each sample shows what its language can do; it is data, not code.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Sample:
    """A file, and the symbols of its lines when each is a chunk of its own, in order."""

    language: str
    symbols: str
    text: str


SAMPLES = (
    Sample(
        "python",
        "Limiter Limiter.__init__ Limiter.tokens Limiter.take.inner Limiter.take "
        "Limiter.Inner.deep main conditional fallback over",
        '''\
"""Doc."""
import x

LIMIT = 5

# About.
@decorator
class Limiter(Base):
    """Doc."""

    rate: int = 5

    def __init__(self, rate):
        self.rate = rate

    # Comment.
    @property
    @cache
    def tokens(self) -> int:
        return 1

    async def take(self, n):
        def inner():
            return 1
        return inner

    class Inner:
        def deep(self): ...

async def main():
    pass

if True:
    def conditional():
        pass

try:
    import fast
except ImportError:
    def fallback(): ...

@overload
def over(x: int): ...
def over(x): return x
''',
    ),
    Sample(
        "javascript",
        "Limiter Limiter.constructor Limiter.tokens Limiter.take Limiter.create Limiter.handler "
        "main add sub gen mul helper Limiter.reset reset run",
        """\
import x from "y";

export class Limiter extends Base {
  #count = 0;
  static limit = 5;
  constructor(rate) {
    this.rate = rate;
  }
  get tokens() {
    return 1;
  }
  async take(n) {
    return n;
  }
  static create() {}
  handler = (x) => {
    return x;
  };
}

export default function main() {
  return 1;
}

export const add = (a, b) => {
  return a + b;
};

const sub = function (a) {
  return a;
};

function* gen() {}

module.exports = {
  add,
  mul: function (a) {
    return a;
  },
};

exports.helper = async () => 1;

Limiter.prototype.reset = function () {
  this.count = 0;
};
this.reset = function () {};
things[0].handler = function () {};

const { a, b } = x;
let router = express();
export default class extends Base {
  run() {}
}
""",
    ),
    Sample(
        "typescript",
        "Options Options.take Rate Color Limiter Limiter.constructor Limiter.run Limiter.take "
        "Inner.Deep.f pkg.g add main outside over Widget Widget.render home not_found useThing",
        """\
export interface Options {
  rate: number;
  take(n: number): void;
}

export type Rate = number | string;

export enum Color { Red }

export abstract class Limiter<T> implements Options {
  private count = 0;
  constructor(private rate: number) {}
  abstract run(): void;
  take(n: number): T {
    return n;
  }
}

namespace Inner.Deep {
  export function f() {}
}

declare module "pkg" {
  export function g(): void;
}

export const add = (a: number): number => a;

export default async function main(): Promise<void> {
}

declare function outside(x: number): void;

export function over(x: string): void;
export function over(x: any) {}

/** A widget. */
@Component({})
export class Widget {
  @Input()
  name: string;
  @HostListener("click")
  render() {}
}

const routes = {
  home: () => 1,
  "not_found"() { return 2; },
};
export const useThing = async function* <T>(x: T) {
  yield x;
};
""",
    ),
    Sample(
        "tsx",
        "Props Button.press Button App",
        """\
interface Props { label: string }

export function Button({ label }: Props) {
  const press = () => {
    alert(label);
  };
  return <button onClick={press}>{label}</button>;
}

export const App: React.FC = () => (
  <Button label="x" />
);
""",
    ),
    Sample(
        "go",
        "Server Handler.Handle A B NewServer Server.Handle Map.Get Gen Server.NoName Counter "
        "Counter.Add handler",
        """\
package main

import "fmt"

const Max = 5

// Server serves.
type Server struct {
	addr string
}

type Handler interface {
	Handle(x int) error
}

type (
	A int
	B = string
)

func NewServer(addr string) *Server {
	return &Server{addr}
}

// Handle handles.
func (s *Server) Handle(x int) error {
	return nil
}

func (m Map[K, V]) Get(k K) V {
	return m.data[k]
}

func Gen[T any](x T) T { return x }

func (Server) NoName() {}

type Counter[T any] struct {
	n int
}

func (c *Counter[T]) Add(n int) { c.n += n }

var handler = func(x int) int {
	return x
}
""",
    ),
    Sample(
        "rust",
        "Point Shape Draw.draw Draw.twice Point.new Point.fmt Canvas.draw inner.helper "
        "inner.deep.leaf square main Alias U external tests.works",
        """\
use std::fmt;

/// A point.
#[derive(Debug)]
pub struct Point<T> {
    x: T,
}

pub enum Shape { Circle, Square }

pub trait Draw {
    fn draw(&self);
    fn twice(&self) {
        self.draw();
    }
}

impl<T> Point<T> {
    pub fn new(x: T) -> Self {
        Self { x }
    }
}

impl<T: Debug> fmt::Display for Point<T> {
    fn fmt(&self) -> fmt::Result {
        Ok(())
    }
}

impl Draw for &'static mut inner::Canvas {
    fn draw(&self) {}
}

mod inner {
    pub fn helper() {}
    pub mod deep {
        pub fn leaf() {}
    }
}

macro_rules! square {
    ($x:expr) => { $x * $x };
}

pub async fn main() {
    run();
}

const LIMIT: usize = 5;
type Alias = Vec<u8>;
union U { a: u8 }

extern "C" {
    fn external(x: i32) -> i32;
}

#[cfg(test)]
mod tests {
    #[test]
    fn works() {}
}
""",
    ),
    Sample(
        "java",
        "Limiter Limiter.Limiter Limiter.take Limiter.Inner.deep Limiter.Mode Store.put "
        "Point.Point Marker.value Level.rank Level.parse",
        """\
package a.b;

import x.Y;

/** Doc. */
@Service
public class Limiter<T> extends Base {
    private final int rate = 5;

    public Limiter(int rate) {
        this.rate = rate;
    }

    /** Takes. */
    @Override
    public boolean take(int n) {
        return true;
    }

    static class Inner {
        void deep() {}
    }

    enum Mode { A, B }
}

interface Store {
    void put(String k);
}

record Point(int x, int y) {
    Point {
    }
}

@interface Marker {
    String value();
}

enum Level {
    LOW { int rank() { return 1; } },
    HIGH;
    static Level parse(String s) { return LOW; }
}
""",
    ),
    Sample(
        "c",
        "SQUARE point node_t color u find get_handler guarded main",
        """\
#include <stdio.h>
#define MAX 5
#define SQUARE(x) ((x)*(x))

struct point {
  int x;
};

typedef struct node {
  int y;
} node_t;

enum color { RED };
union u { int a; };

static int *find(struct point *p, int n) {
  return 0;
}

int (*get_handler(void))(int) {
  return 0;
}

void declared(int x);

static const struct ops my_ops = {
  .open = find,
};

#ifdef LINUX
int guarded(void) { return 1; }
#endif

int main(int argc, char **argv)
{
  return 0;
}
""",
    ),
    Sample(
        "cpp",
        "SQUARE n::A n::A::A n::A::q n::A::operator== n::A::get n::A::r n::make n::Color n "
        "a::b::f n::A::~A n::g P Q cfun hash::operator() n::Box::empty n::A::operator·bool "
        "operator<< Number",
        """\
#include <x>
#define SQUARE(x) ((x)*(x))

namespace n {

class A : public B {
 public:
  A(int x) : x_(x) {}
  virtual ~A();
  int q() const {
    return x_;
  }
  bool operator==(const A& o) const { return true; }
  template <typename T>
  T get(T t) { return t; }
};

int A::r(int y) {
  return y;
}

template <typename T>
T* make(T t) {
  return nullptr;
}

enum class Color { Red };
using Alias = int;
}  // namespace n

namespace a::b {
void f() {}
}

int n::A::q() {
  return 1;
}

n::A::~A() {
}

std::vector<int> n::g(const std::string& s) {
  return {};
}
struct P { int x; };
typedef struct { int y; } Q;
extern "C" {
int cfun(int a) { return a; }
}
template <>
struct hash<n::A> {
  size_t operator()(const n::A& a) const { return 0; }
};
template <typename T>
bool n::Box<T>::empty() const { return true; }
n::A::operator bool() const { return true; }
std::ostream& operator<<(std::ostream& out, const n::A& a) { return out; }
class Forward;
template <typename T>
concept Number = std::is_arithmetic_v<T>;
""",
    ),
    Sample(
        "csharp",
        "App.Core.Limiter App.Core.Limiter.Limiter App.Core.Limiter.Rate App.Core.Limiter.Take "
        "App.Core.Limiter.~Limiter App.Core.Limiter.operator·+ App.Core.IStore.Put "
        "App.Core.Mode App.Core.Point App.Core.S App.Core.D",
        """\
using System;

namespace App.Core
{
    /// <summary>x</summary>
    [Serializable]
    public class Limiter<T> : Base
    {
        private int rate;

        public Limiter(int rate)
        {
            this.rate = rate;
        }

        public int Rate { get; set; }

        public bool Take(int n)
        {
            return true;
        }

        ~Limiter() {}

        public static Limiter operator +(Limiter a, Limiter b) => a;
    }

    public interface IStore { void Put(); }
    public enum Mode { A }
    public record Point(int X);
    public struct S { int x; }
    public delegate void D(int x);
}
""",
    ),
    Sample(
        "csharp",
        "A.B",
        """\
namespace App;

public class A
{
    public void B() { }
}
""",
    ),
    Sample(
        "ruby",
        "Outer.Limiter Outer.Limiter.initialize Outer.Limiter.create Outer.Limiter.ok? "
        "Outer.Limiter.secret Outer.Limiter.build Outer::Other.x helper",
        """\
require "x"

module Outer
  # Doc.
  class Limiter < Base
    attr_reader :rate
    LIMIT = 5

    def initialize(rate)
      @rate = rate
    end

    def self.create(x)
      new(x)
    end

    def ok?
      true
    end

    private

    def secret; end

    class << self
      def build; end
    end
  end
end

class Outer::Other
  def x; end
end

def helper(a)
  a
end
""",
    ),
    Sample(
        "php",
        "Limiter Limiter.__construct Limiter.create Store.put T.t Mode helper",
        """\
<?php
namespace App\\Core;

use X\\Y;

/** Doc. */
#[Attr]
abstract class Limiter extends Base implements I
{
    private $rate = 5;

    public function __construct($rate)
    {
        $this->rate = $rate;
    }

    public static function create(): self
    {
        return new self(1);
    }
}

interface Store
{
    public function put(string $k);
}

trait T
{
    function t() {}
}

enum Mode: string { case A = 'a'; }

function helper(int $x): int
{
    return $x;
}
""",
    ),
    Sample(
        "scala",
        "Limiter Limiter.take Limiter.apply Store.put Point Color top ord.compare shout",
        """\
package a.b

import x.Y

/** Doc. */
class Limiter[T](rate: Int) extends Base {
  val x = 1
  def take(n: Int): Boolean = {
    true
  }
  private lazy val y = 2
}

object Limiter {
  def apply(rate: Int) = new Limiter(rate)
}

trait Store {
  def put(k: String): Unit
}

case class Point(x: Int)
enum Color { case Red }
def top(x: Int) = x
given ord: Ordering[Int] with {
  def compare(a: Int) = 1
}
extension (s: String) {
  def shout = s
}
""",
    ),
    Sample(
        "kotlin",
        "Limiter Limiter.constructor Limiter.take Limiter.create Limiter.Inner.deep Store.put "
        "Single.go Point Color String.shout List.second top Alias",
        """\
package a.b

import x.Y

/** Doc. */
@Service
class Limiter<T>(private val rate: Int) : Base() {
    val x = 1
    constructor(s: String) : this(1)
    init {
        println()
    }
    fun take(n: Int): Boolean {
        return true
    }
    companion object {
        fun create() = Limiter(1)
    }
    inner class Inner {
        fun deep() {}
    }
}

interface Store {
    fun put(k: String)
}

object Single {
    fun go() {}
}

data class Point(val x: Int)
enum class Color { RED }
fun String.shout(): String = this
fun <T> List<T>.second(): T = this[1]
fun top(x: Int) = x
val limit = 5
typealias Alias = Int
""",
    ),
    Sample(
        "shell",
        "build clean both",
        """\
#!/bin/bash
set -e
X=5
function build() {
  echo x
}

# Cleans.
clean() {
  rm x
}
function both {
  true
}
for i in 1 2; do
  echo $i
done
main "$@"
""",
    ),
)
